//! Holds every kernel that this processor has the instructions for against the argon2 crate.
//!
//! `cargo fuzz run argon2id -- -max_total_time=600` with a nightly toolchain.

#![no_main]

use arbitrary::Arbitrary;
use argon2::{Algorithm, Argon2, AssociatedData, ParamsBuilder, Version};
use bellhop_argon2id::{Cost, Inputs, Kernel, Memory, OUTPUT};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Case {
    password: Vec<u8>,
    salt: [u8; 8],
    more_salt: Vec<u8>,
    secret: Vec<u8>,
    associated_data: Vec<u8>,
    /// One after the other in the same memory.
    costs: [(u16, u8, u8); 2],
}

fuzz_target!(|case: Case| {
    let salt = [&case.salt[..], &case.more_salt].concat();
    let associated_data = &case.associated_data[..case.associated_data.len().min(AssociatedData::MAX_LEN)];
    let inputs = Inputs { password: &case.password, salt: &salt, secret: &case.secret, associated_data };
    let mut memories: Vec<Memory> = Kernel::available().iter().map(|_| Memory::default()).collect();
    for (memory, passes, lanes) in case.costs {
        let lanes = u32::from(lanes % 4) + 1;
        let cost = Cost { memory: 8 * lanes + u32::from(memory % 1_024), passes: u32::from(passes % 4) + 1, lanes };
        let expected = reference(&inputs, cost);
        for (kernel, memory) in Kernel::available().into_iter().zip(&mut memories) {
            assert_eq!(kernel.hash(&inputs, cost, memory), Some(expected), "{} at {cost:?}", kernel.name());
        }
    }
});

fn reference(inputs: &Inputs<'_>, cost: Cost) -> [u8; OUTPUT] {
    let data = AssociatedData::new(inputs.associated_data).expect("short enough");
    let mut params = ParamsBuilder::new();
    params.m_cost(cost.memory).t_cost(cost.passes).p_cost(cost.lanes).output_len(OUTPUT).data(data);
    let params = params.build().expect("a cost that there can be");
    let argon2 = Argon2::new_with_secret(inputs.secret, Algorithm::Argon2id, Version::V0x13, params);
    let mut hash = [0; OUTPUT];
    let done = argon2.expect("a short secret").hash_password_into(inputs.password, inputs.salt, &mut hash);
    done.expect("a hash");
    hash
}
