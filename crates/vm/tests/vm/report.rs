//! Progress on standard error, the seed, and the totals of a run.

use std::{
    io::Write as _,
    sync::OnceLock,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

/// The totals of all scenarios.
#[derive(Debug, Default)]
struct Totals {
    boots: Vec<Duration>,
    acknowledged: usize,
    cuts: usize,
    replays: usize,
    wrong: usize,
}

/// What a run prints.
#[derive(Debug)]
pub(crate) struct Report {
    seed: u64,
    began: Instant,
    totals: Mutex<Totals>,
}

impl Report {
    /// The report of this process.
    pub(crate) fn get() -> &'static Self {
        static REPORT: OnceLock<Report> = OnceLock::new();
        REPORT.get_or_init(|| {
            #[expect(
                clippy::disallowed_methods,
                reason = "a test has no command line of its own"
            )]
            let seed = std::env::var("PANDAEMON_VM_SEED").ok();
            Self {
                seed: seed
                    .and_then(|seed| seed.parse().ok())
                    .unwrap_or_else(|| fastrand::u64(0..1_000_000)),
                began: Instant::now(),
                totals: Mutex::default(),
            }
        })
    }

    /// Random choices of a scenario. The seed is printed.
    pub(crate) fn random(&self) -> fastrand::Rng {
        self.say(&format!("PANDAEMON_VM_SEED={}", self.seed));
        fastrand::Rng::with_seed(self.seed)
    }

    /// Prints a line with the time since the start.
    pub(crate) fn say(&self, line: &str) {
        let seconds = self.began.elapsed().as_secs();
        let mut terminal = std::io::stderr();
        // The terminal may be closed.
        let _unread = writeln!(terminal, "[{seconds:>5} s] {line}");
    }

    /// Notes how long a machine took to boot.
    pub(crate) fn booted(&self, time: Duration) {
        self.totals.lock().boots.push(time);
        self.say(&format!("booted in {:.1} s", time.as_secs_f64()));
    }

    /// Notes a power cut.
    pub(crate) fn cut(&self) {
        self.totals.lock().cuts += 1;
    }

    /// Notes that a state of a disk was opened.
    pub(crate) fn replayed(&self) {
        self.totals.lock().replays += 1;
    }

    /// Notes acknowledged writes, and what a comparison found wrong.
    pub(crate) fn compared(&self, acknowledged: usize, wrong: usize) {
        let mut totals = self.totals.lock();
        totals.acknowledged += acknowledged;
        totals.wrong += wrong;
    }

    /// The closing line.
    pub(crate) fn print_totals(&self) {
        let totals = self.totals.lock();
        let seconds = |time: Option<&Duration>| time.map_or(0.0, Duration::as_secs_f64);
        let line = format!(
            "{} boots of {:.0} to {:.0} s, {} writes acknowledged, {} power cuts, {} replayed \
             disks, {} writes lost or wrong",
            totals.boots.len(),
            seconds(totals.boots.iter().min()),
            seconds(totals.boots.iter().max()),
            totals.acknowledged,
            totals.cuts,
            totals.replays,
            totals.wrong,
        );
        drop(totals);
        self.say(&line);
    }
}
