//! Which processes a process has started, and whether they are gone. Reads /proc.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

/// All processes below this one, however deep.
pub fn descendants(of: u32) -> Vec<u32> {
    let parents: Vec<(u32, u32)> = fs::read_dir("/proc")
        .expect("/proc is mounted")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, stat(pid)?.1)))
        .collect();
    let mut found = vec![of];
    let mut at = 0;
    while let Some(&parent) = found.get(at) {
        found.extend(parents.iter().filter(|(_, its)| *its == parent).map(|(pid, _)| *pid));
        at += 1;
    }
    found.split_off(1)
}

/// Whether it runs. A zombie does not: nobody may be there to reap an orphan.
pub fn alive(pid: u32) -> bool {
    stat(pid).is_some_and(|(state, _)| !matches!(state, 'Z' | 'X'))
}

/// SIGKILL to a process group and to single processes. Waits until the single ones are gone, and says whether they are.
pub fn end(group: u32, pids: &[u32]) -> bool {
    let of = |pid: u32| Pid::from_raw(pid.try_into().expect("process ids fit"));
    // an error means that it is gone already, which is what is wanted
    let _ = killpg(of(group), Signal::SIGKILL);
    for &pid in pids.iter().filter(|&&pid| alive(pid)) {
        let _ = kill(of(pid), Signal::SIGKILL);
    }
    let limit = Instant::now() + Duration::from_secs(10);
    while pids.iter().any(|&pid| alive(pid)) {
        if Instant::now() > limit {
            return false;
        }
        // a process that is no child of ours can be watched only by looking
        thread::sleep(Duration::from_millis(5));
    }
    true
}

/// State and parent. The name in stat may hold spaces and brackets: the fields begin behind its end.
fn stat(pid: u32) -> Option<(char, u32)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}
