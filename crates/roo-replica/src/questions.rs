//! Reads that are served where they arrive, but only once the leader has said how far they must
//! see: the questions of one thread that serves reads, and how each of its connections stands.
//!
//! A thread has one question open at a time. It is for what had arrived when it was put, and for
//! nothing else: whatever comes later may follow a write that the answer does not know, and waits
//! for the next question. So a connection keeps the place in its input up to which it has asked.
//! [`crate::read_path`] is the other side.

use alloc::vec::{Drain, Vec};

use crate::event::ConnId;

/// How far must a thread's reads see? Answered when the state shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// The thread.
    pub asker: usize,
    /// Counts the thread's questions, from 1: no answer is taken for that to another question.
    pub number: u64,
}

/// How the front of a connection's input stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sight {
    /// Nobody has asked about it.
    #[default]
    Unasked,
    /// It waits for the next question.
    Waiting,
    /// It waits for the answer to the open question.
    Asked {
        /// How much had come when the question was put.
        upto: usize,
    },
    /// The state shows what reads must see that lie wholly within so much of it.
    Shown {
        /// How much.
        upto: usize,
    },
}

impl Sight {
    /// Whether nothing of the input may be served before an answer has come.
    #[must_use]
    pub const fn waits(self) -> bool {
        matches!(self, Self::Waiting | Self::Asked { .. })
    }

    /// Whether a read that ends there may be served.
    #[must_use]
    pub const fn covers(self, end: usize) -> bool {
        matches!(self, Self::Shown { upto } if end <= upto)
    }

    /// The question is put when so much has come.
    pub const fn ask(&mut self, upto: usize) {
        *self = Self::Asked { upto };
    }

    /// The question is answered.
    pub const fn show(&mut self) {
        if let Self::Asked { upto } = *self {
            *self = Self::Shown { upto };
        }
    }

    /// So much of the input is served and gone.
    pub const fn consume(&mut self, served: usize) {
        if let Self::Shown { upto } = *self {
            *self = if upto > served {
                Self::Shown {
                    upto: upto - served,
                }
            } else {
                Self::Unasked
            };
        }
    }
}

/// The questions of one thread.
#[derive(Debug)]
pub struct Questions {
    asker: usize,
    /// Of the last question.
    number: u64,
    is_open: bool,
    /// Connections for which the next question is.
    waiting: Vec<ConnId>,
    /// Connections for which the open one is.
    asked: Vec<ConnId>,
}

impl Questions {
    /// Those of a thread.
    #[must_use]
    pub const fn new(asker: usize) -> Self {
        Self {
            asker,
            number: 0,
            is_open: false,
            waiting: Vec::new(),
            asked: Vec::new(),
        }
    }

    /// A connection needs the next question.
    pub fn wait(&mut self, conn: ConnId) {
        self.waiting.push(conn);
    }

    /// Whether the next question is to be put.
    #[must_use]
    pub const fn is_due(&self) -> bool {
        !self.is_open && !self.waiting.is_empty()
    }

    /// Puts the next question, if somebody needs it and none is open; `ask` is called for each
    /// connection that it is for.
    pub fn put(&mut self, mut ask: impl FnMut(ConnId)) -> Option<Question> {
        if self.is_open || self.waiting.is_empty() {
            return None;
        }
        self.is_open = true;
        self.number += 1;
        self.asked.append(&mut self.waiting);
        self.asked.iter().for_each(|conn| ask(*conn));
        Some(Question {
            asker: self.asker,
            number: self.number,
        })
    }

    /// The connections of a question that is answered, unless it is not the open one.
    pub fn answered(&mut self, number: u64) -> Drain<'_, ConnId> {
        if !self.is_open || number != self.number {
            return self.asked.drain(..0);
        }
        self.is_open = false;
        self.asked.drain(..)
    }

    /// The role has ended in which the open question was put: nobody answers it, and its
    /// connections end.
    pub fn forget(&mut self) {
        self.is_open = false;
        self.asked.clear();
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    const A: ConnId = ConnId(1);
    const B: ConnId = ConnId(2);

    fn put(questions: &mut Questions) -> Option<(u64, Vec<ConnId>)> {
        let mut conns = Vec::new();
        let question = questions.put(|conn| conns.push(conn))?;
        Some((question.number, conns))
    }

    #[test]
    fn whoever_comes_while_a_question_is_open_waits_for_the_next() {
        let mut questions = Questions::new(3);
        assert_eq!(put(&mut questions), None);
        questions.wait(A);
        assert_eq!(put(&mut questions), Some((1, vec![A])));
        questions.wait(B);
        assert_eq!(put(&mut questions), None);
        assert_eq!(questions.answered(1).collect::<Vec<_>>(), [A]);
        assert_eq!(put(&mut questions), Some((2, vec![B])));
    }

    #[test]
    fn an_answer_that_comes_after_its_role_is_not_taken_for_the_next_one() {
        let mut questions = Questions::new(0);
        questions.wait(A);
        put(&mut questions);
        questions.forget();
        assert_eq!(questions.answered(1).count(), 0);
        questions.wait(B);
        assert_eq!(put(&mut questions), Some((2, vec![B])));
        assert_eq!(questions.answered(1).count(), 0);
        assert_eq!(questions.answered(2).count(), 1);
        assert_eq!(questions.answered(2).count(), 0);
    }

    #[test]
    fn an_answer_is_good_for_what_had_arrived_whole() {
        let mut sight = Sight::default();
        assert!(!sight.waits() && !sight.covers(0));
        sight = Sight::Waiting;
        sight.show();
        assert!(sight.waits(), "it was not asked");
        sight.ask(25);
        assert!(sight.waits() && !sight.covers(10));
        sight.show();
        assert!(sight.covers(25) && !sight.covers(26));
        sight.consume(20);
        assert!(sight.covers(5) && !sight.covers(6));
        sight.consume(5);
        assert_eq!(sight, Sight::Unasked);
    }
}
