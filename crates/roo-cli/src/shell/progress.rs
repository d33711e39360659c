//! How far long work is: a bar on a terminal, and a sentence for when it is broken off.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::output::Output;

/// What the running command has done so far, for whoever breaks it off.
#[derive(Clone, Debug, Default)]
pub(super) struct Doing(Rc<Cell<Option<Step>>>);

#[derive(Clone, Copy, Debug)]
struct Step {
    verb: &'static str,
    done: usize,
    all: usize,
}

impl Doing {
    /// Begins something that changes or reads many nodes.
    pub(super) fn begin(&self, out: &Output, verb: &'static str, all: usize) -> Progress {
        self.0.set(Some(Step { verb, done: 0, all }));
        let target = if out.progress {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let length = u64::try_from(all).ok();
        let bar = ProgressBar::with_draw_target(length, target);
        let style = ProgressStyle::with_template("{prefix} {wide_bar} {pos}/{len} {per_sec} {eta}");
        if let Ok(style) = style {
            bar.set_style(style);
        }
        bar.set_prefix(verb);
        bar.enable_steady_tick(Duration::from_millis(200));
        Progress {
            bar,
            doing: self.clone(),
        }
    }

    /// Nothing is under way.
    pub(super) fn clear(&self) {
        self.0.set(None);
    }

    /// A sentence about what is under way.
    pub(super) fn sentence(&self) -> Option<String> {
        self.0.get().map(|Step { verb, done, all }| {
            format!("{verb}: {done} of {all} nodes are done, the next ones may be")
        })
    }
}

/// Something that is under way; it has ended when this is dropped.
#[derive(Debug)]
pub(super) struct Progress {
    bar: ProgressBar,
    doing: Doing,
}

impl Progress {
    /// So many more are done.
    pub(super) fn add(&self, count: usize) {
        self.bar.inc(u64::try_from(count).unwrap_or_default());
        if let Some(step) = self.doing.0.get() {
            let done = step.done + count;
            self.doing.0.set(Some(Step { done, ..step }));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_broken_off_says_how_far_it_came() {
        let doing = Doing::default();
        assert_eq!(doing.sentence(), None);
        let mut out = Output::standard();
        out.progress = false;
        let progress = doing.begin(&out, "deleting", 10);
        progress.add(4);
        drop(progress);
        assert_eq!(
            doing.sentence().unwrap(),
            "deleting: 4 of 10 nodes are done, the next ones may be"
        );
    }
}
