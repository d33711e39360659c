//! The least that still shows a difference: delta debugging over a sequence. What a sequence does
//! is decided by whoever asks; nothing here knows of servers.

/// What a sequence came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It shows the difference within so many of its first items.
    Fails(usize),
    /// It does not.
    Holds,
    /// No more may be asked.
    Stop,
}

/// Shortens `items`, which fail, as long as they do: runs of half their number first, then ever
/// smaller ones down to single items, then each item by what `simpler` makes of it.
pub fn shrink<T: Clone>(
    items: Vec<T>,
    simpler: &dyn Fn(&T) -> Vec<T>,
    judge: &mut dyn FnMut(&[T]) -> Verdict,
) -> Vec<T> {
    let mut search = Search { items, judge };
    if search.drop_runs().is_some() {
        // Only a Stop ends the second part early too.
        let _ = search.simplify(simpler);
    }
    search.items
}

struct Search<'j, T> {
    items: Vec<T>,
    judge: &'j mut dyn FnMut(&[T]) -> Verdict,
}

impl<T: Clone> Search<'_, T> {
    /// Whether `candidate` fails too and takes the place of the items; `None` to stop.
    fn accept(&mut self, mut candidate: Vec<T>) -> Option<bool> {
        match (self.judge)(&candidate) {
            Verdict::Fails(first) => {
                candidate.truncate(first);
                self.items = candidate;
                Some(true)
            }
            Verdict::Holds => Some(false),
            Verdict::Stop => None,
        }
    }

    fn drop_runs(&mut self) -> Option<()> {
        let mut run = self.items.len().div_ceil(2);
        while run > 0 {
            let mut at = 0;
            let mut any = false;
            while at < self.items.len() && self.items.len() > 1 {
                let end = (at + run).min(self.items.len());
                if at == 0 && end == self.items.len() {
                    break;
                }
                let mut candidate = self.items.clone();
                candidate.drain(at..end);
                if self.accept(candidate)? {
                    any = true;
                } else {
                    at = end;
                }
            }
            // Single items are tried until none can be left out any more.
            run = if run == 1 && any { 1 } else { run / 2 };
        }
        Some(())
    }

    fn simplify(&mut self, simpler: &dyn Fn(&T) -> Vec<T>) -> Option<()> {
        let mut at = 0;
        while let Some(item) = self.items.get(at) {
            let mut any = false;
            for other in simpler(item) {
                let mut candidate = self.items.clone();
                candidate[at] = other;
                if self.accept(candidate)? {
                    any = true;
                    break;
                }
            }
            if !any {
                at += 1;
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nothing(_: &u32) -> Vec<u32> {
        Vec::new()
    }

    /// Fails at the first place where every number of `wanted` has come, in this order.
    fn needs(wanted: &[u32]) -> impl Fn(&[u32]) -> Verdict {
        move |items| {
            let mut missing = wanted.iter();
            let mut next = missing.next();
            for (at, item) in items.iter().enumerate() {
                if Some(item) == next {
                    next = missing.next();
                    if next.is_none() {
                        return Verdict::Fails(at + 1);
                    }
                }
            }
            Verdict::Holds
        }
    }

    #[test]
    fn only_what_the_failure_needs_is_left() {
        for wanted in [
            &[999][..],
            &[0],
            &[3, 4],
            &[0, 500, 999],
            &[10, 20, 30, 40, 50],
        ] {
            let mut asked = 0;
            let judge = needs(wanted);
            let left = shrink((0..1000).collect(), &nothing, &mut |items| {
                asked += 1;
                judge(items)
            });
            assert_eq!(left, wanted);
            assert!(asked < 60 * wanted.len() + 40, "{asked} for {wanted:?}");
        }
    }

    #[test]
    fn what_stands_behind_the_failure_is_dropped_without_a_question() {
        let mut longest = Vec::new();
        let judge = needs(&[1, 2]);
        let left = shrink((0..64).collect(), &nothing, &mut |items| {
            longest.push(items.len());
            judge(items)
        });
        assert_eq!(left, [1, 2]);
        // Without its second half the sequence fails at its third item.
        assert!(
            longest.iter().skip(2).all(|length| *length < 3),
            "{longest:?}"
        );
    }

    #[test]
    fn items_that_need_each_other_stay_together() {
        // Either both of 5 and 6 are there or neither; 9 is what fails.
        let judge = |items: &[u32]| {
            let has = |n| items.contains(&n);
            if has(9) && has(5) == has(6) {
                Verdict::Fails(items.len())
            } else {
                Verdict::Holds
            }
        };
        let left = shrink((0..20).collect(), &nothing, &mut { judge });
        assert!(left.contains(&9) && left.len() <= 3, "{left:?}");
        assert_eq!(judge(&left), Verdict::Fails(left.len()));
    }

    #[test]
    fn items_become_simpler_once_none_can_be_left_out() {
        let judge = |items: &[u32]| match items {
            [a, ..] if *a >= 40 => Verdict::Fails(1),
            _ => Verdict::Holds,
        };
        let halves = |n: &u32| vec![n / 2, n - 1];
        assert_eq!(shrink(vec![200, 7], &halves, &mut { judge }), [40]);
    }

    #[test]
    fn the_best_so_far_is_the_answer_when_no_more_may_be_asked() {
        let judge = needs(&[90]);
        let mut asked = 0;
        let left = shrink((0..100).collect(), &nothing, &mut |items| {
            asked += 1;
            if asked > 3 {
                Verdict::Stop
            } else {
                judge(items)
            }
        });
        assert!(left.len() < 100 && left.contains(&90), "{left:?}");
    }
}
