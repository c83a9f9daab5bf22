//! Whether two sets of times differ by more than chance, and by more than matters.

use std::collections::BTreeMap;
use std::time::Duration;

/// Past this |t| a difference is no chance: the threshold of leakage tests (Goodwill et al., "A testing methodology for
/// side-channel resistance validation", 2011).
const CERTAIN: f64 = 4.5;

/// A gap between medians matters from this part of one hash on.
const MATTERS: f64 = 0.05;

/// The slowest tenth and the fastest tenth are left out: they tell of the machine.
const TRIMMED: usize = 10;

/// Times of one class.
#[derive(Clone, Debug, Default)]
pub struct Samples(Vec<f64>);

impl Samples {
    pub fn push(&mut self, took: Duration) {
        self.0.push(took.as_secs_f64());
    }

    /// Of all.
    pub fn median(&self) -> Duration {
        let sorted = self.sorted();
        Duration::from_secs_f64(sorted[sorted.len() / 2])
    }

    fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted
    }

    /// Mean, variance and number of those that are left after trimming.
    #[expect(clippy::cast_precision_loss, reason = "some thousands at the most")]
    fn moments(&self) -> (f64, f64, f64) {
        let sorted = self.sorted();
        let out = sorted.len() / TRIMMED;
        let kept = &sorted[out..sorted.len() - out];
        let number = kept.len() as f64;
        let mean = kept.iter().sum::<f64>() / number;
        let variance = kept.iter().map(|time| (time - mean).powi(2)).sum::<f64>() / (number - 1.0);
        (mean, variance, number)
    }
}

/// Welch's t of two trimmed samples.
fn welch(a: &Samples, b: &Samples) -> f64 {
    let ((mean_a, variance_a, number_a), (mean_b, variance_b, number_b)) = (a.moments(), b.moments());
    (mean_a - mean_b) / (variance_a / number_a + variance_b / number_b).sqrt()
}

/// The same for two states of the mail server. They are two programs, each with connections, queues and a load of its own:
/// one of them has mails to send and the other has none. A request that waited for the mail server would differ by many
/// hashes; nobody can learn about an address from what both of its answers have in common.
const MATTERS_ACROSS: f64 = 0.1;

/// Prints the table, each class beside the first, and says which two classes can be told apart.
pub fn differences(samples: &BTreeMap<String, Samples>, hash: Duration) -> Vec<String> {
    let classes: Vec<(&String, &Samples)> = samples.iter().collect();
    let (first, reference) = classes.first().expect("a class");
    println!("one hash: {:.2} ms; each class beside {first:?}", hash.as_secs_f64() * 1e3);
    println!("{:<36} {:>5} {:>10} {:>10} {:>7}", "class", "n", "median ms", "gap/hash", "t");
    for (name, times) in &classes {
        let (gap, t) = compare(times, reference, hash);
        let (number, median) = (times.0.len(), times.median().as_secs_f64() * 1e3);
        println!("{name:<36} {number:>5} {median:>10.2} {:>9.1}% {t:>7.2}", gap * 100.0);
    }
    let mut found = Vec::new();
    for (at, (name, times)) in classes.iter().enumerate() {
        for (other, others) in &classes[..at] {
            let (gap, t) = compare(times, others, hash);
            let matters = if state(name) == state(other) { MATTERS } else { MATTERS_ACROSS };
            if t.abs() >= CERTAIN && gap.abs() >= matters {
                found.push(format!("{name} | {other}: {:.1}% of a hash, t = {t:.1}", gap * 100.0));
            }
        }
    }
    found
}

/// The state of the mail server in a class's name.
fn state(name: &str) -> Option<&str> {
    name.rsplit_once(", mail ").map(|(_, state)| state)
}

/// The gap between the medians as a part of one hash, and t.
fn compare(a: &Samples, b: &Samples, hash: Duration) -> (f64, f64) {
    let gap = a.median().as_secs_f64() - b.median().as_secs_f64();
    (gap / hash.as_secs_f64(), if std::ptr::eq(a, b) { 0.0 } else { welch(a, b) })
}

#[test]
fn what_is_alike_is_told_from_what_is_not() {
    let hash = Duration::from_millis(10);
    let around = |middle: u64| {
        let mut samples = Samples::default();
        (0..200).for_each(|n| samples.push(Duration::from_micros(middle + n * 37 % 1_000)));
        samples
    };
    let classes = |a, b| BTreeMap::from([("a".to_owned(), around(a)), ("b".to_owned(), around(b))]);
    assert!(differences(&classes(12_000, 12_000), hash).is_empty());
    assert!(differences(&classes(12_000, 12_300), hash).is_empty(), "certain, and too little to matter");
    assert_eq!(differences(&classes(12_000, 13_000), hash).len(), 1);
    let of_states = |a: &str, b: &str, gap: u64| {
        BTreeMap::from([(format!("a, mail {a}"), around(12_000)), (format!("b, mail {b}"), around(12_000 + gap))])
    };
    assert_eq!(differences(&of_states("up", "up", 700), hash).len(), 1, "of one program");
    assert!(differences(&of_states("up", "down", 700), hash).is_empty(), "two programs are never quite alike");
    assert_eq!(differences(&of_states("up", "down", 1_500), hash).len(), 1);
    assert_eq!(differences(&classes(13_000, 12_000), hash).len(), 1);
}
