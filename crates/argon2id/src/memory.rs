//! The memory that a thread hashes in, kept from one hash to the next.

use memmap2::{Advice, MmapMut};

/// What the system hands out as one page where it may: 2 MiB on x86-64.
const HUGE_PAGE: usize = 2 << 20;

/// Memory for hashes, taken from the system with the first one and given back when this is dropped.
#[derive(Debug, Default)]
pub struct Memory {
    map: Option<MmapMut>,
    /// Where the first whole huge page begins.
    begin: usize,
    /// How much of it holds something of the last hash.
    used: usize,
}

impl Memory {
    /// The first `len` bytes, whatever they hold; none when the system has no more.
    pub(crate) fn take(&mut self, len: usize) -> Option<&mut [u8]> {
        let pages = len.checked_next_multiple_of(HUGE_PAGE)?;
        if self.map.as_ref().is_none_or(|map| map.len() - self.begin < pages) {
            // the old one first: never both at once
            *self = Memory::default();
            let map = MmapMut::map_anon(pages.checked_add(HUGE_PAGE)?).ok()?;
            let address = map.as_ptr().addr();
            self.begin = address.next_multiple_of(HUGE_PAGE) - address;
            // a wish: where the system has no huge pages it gives small ones
            #[cfg(target_os = "linux")]
            let _ = map.advise_range(Advice::HugePage, self.begin, pages);
            self.map = Some(map);
        }
        self.used = self.used.max(len);
        self.map.as_mut()?.get_mut(self.begin..)?.get_mut(..len)
    }

    /// Overwrites what the last hash has left. From that the first blocks could be computed back, which are a fast hash
    /// of the password.
    pub fn wipe(&mut self) {
        let used = std::mem::take(&mut self.used);
        let left = self.map.as_mut().and_then(|map| map.get_mut(self.begin..)).and_then(|bytes| bytes.get_mut(..used));
        if let Some(left) = left {
            left.fill(0);
        }
    }

    /// Whether nothing is in it.
    #[must_use]
    pub fn is_wiped(&self) -> bool {
        self.map.as_ref().is_none_or(|map| map.iter().all(|&byte| byte == 0))
    }
}
