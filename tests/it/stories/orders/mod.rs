//! Whatever is done in whatever order: nobody gets further than the rules allow (OWASP ASVS 2.3.1), a session lives only if nothing
//! ended it, and what was accepted happens, once.
//!
//! An order is a sequence of random steps. Most are requests by one of three browsers about one of three addresses, some with a
//! cookie or a link that is old, stolen or garbled; others are an administrator's. Between them time passes, the mail server refuses or is
//! away, and the program is killed and started again. A model that knows the rules alone says what each must answer and which
//! mails must come; at the end all is brought back, time passes until nothing is due, and what is there is counted.
//!
//! * `routes`: the steps, with the routes that each asks
//! * `world`: the browsers, addresses and mails of one order
//! * `doors`, `links`, `account`: the steps themselves, each beside what it tells the model
//! * `model`: the rules
//! * `town`: the app that some dozens of orders are walked in together, its clock and its troubles

mod account;
mod doors;
mod links;
mod model;
mod routes;
mod town;
mod world;

use std::time::Duration;

use futures_util::StreamExt as _;

use self::town::Town;
use self::world::World;
use crate::support::app::Stack;
use crate::support::chance::Chance;

/// Orders that are walked together, …
const TOGETHER: u64 = 60;
/// … how often in one town, …
const TIMES: u64 = 4;
/// … and in how many towns at the same time: while one waits another one works.
const TOWNS: usize = 3;

const STEPS: usize = 10;

async fn walk(stack: Stack, orders: u64) {
    let seed = Chance::new().seed;
    let towns = (0..orders.div_ceil(TOGETHER * TIMES)).map(|town| async move {
        let first = town * TOGETHER * TIMES;
        let mut place = Town::new(stack, seed.wrapping_add(town)).await;
        for group in (first..orders.min(first + TOGETHER * TIMES)).step_by(usize::try_from(TOGETHER).unwrap()) {
            let numbers = group..orders.min(group + TOGETHER);
            let mut worlds: Vec<World> = numbers.map(|number| World::new(place.site(), number, seed)).collect();
            place.walk(&mut worlds, STEPS, seed).await;
        }
        place.app.settle().await;
    });
    futures_util::stream::iter(towns).buffer_unordered(TOWNS).collect::<()>().await;
    println!("{orders} orders");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn item_44_thousands_of_orders_of_steps_open_nothing_that_is_closed_on_sqlite() {
    // in thousands: TEST_ORDERS=10, or 0.2 for a look
    let thousands = std::env::var("TEST_ORDERS").map_or(2.0, |number| number.parse().unwrap());
    walk(Stack::Small, Duration::from_secs_f64(thousands).as_millis().try_into().unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn item_44_a_hundred_orders_of_steps_open_nothing_that_is_closed_on_postgres() {
    walk(Stack::Large, 120).await;
}
