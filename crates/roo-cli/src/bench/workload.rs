//! The workloads: which requests a connection sends, in which proportion, over which znodes.
//!
//! Layout below the root of a run: `k/#` the keys that are read and set, `l/` a directory to list,
//! `c#/` one directory per connection for what it creates.

use std::sync::atomic::{AtomicU32, Ordering};

use clap::ValueEnum;

use super::wire::{Mode, Template, Watch, op};

/// A kind of load, by the name known in the field where there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Workload {
    /// getData of random keys
    Read,
    /// getData of one key
    SingleHotGet,
    /// exists of random keys
    Exists,
    /// getChildren of one directory
    List,
    /// setData of random keys
    Write,
    /// create of persistent znodes, one directory per connection
    Create,
    /// create of ephemeral znodes
    CreateEphemeral,
    /// create of sequential znodes
    CreateSeq,
    /// create and delete in turn
    Churn,
    /// multi of check, two setData, create and delete
    Multi5,
    /// create 1, setData 8, getData 45, getChildren 45, delete 1
    Mixed,
    /// getData 38, create 34, setData 9, multi of 3 to 7 operations 11, getChildren 4; values 0-162 B
    ProdMix,
    /// getData 90, setData 10
    Read90,
    /// multi of --multi-ops setData of random keys
    MultiLarge,
    /// getChildren 90, create 5, delete 5, all in one directory
    ListHeavy,
    /// getAllChildrenNumber of one directory
    Count,
    /// create of -n znodes that stay, numbered from --first
    Fill,
    /// delete of -n znodes that fill has left below the same --root
    Drain,
    /// exists with a watch: every connection watches every key, and keeps that for -t seconds
    Watches,
    /// open -n sessions, keep them for -t seconds, close them
    Sessions,
    /// one setData at a time, watched by every connection; latency up to the last event
    WatchFanout,
}

impl Workload {
    /// The weights of its requests; empty for those that are no stream of requests.
    fn mix(self) -> &'static [(u32, Action)] {
        match self {
            Self::Read | Self::SingleHotGet => &[(1, Action::Get)],
            Self::Exists => &[(1, Action::Exists)],
            Self::List => &[(1, Action::List)],
            Self::Write => &[(1, Action::Set)],
            Self::Create => &[(1, Action::Create)],
            Self::Fill => &[(1, Action::Fill)],
            Self::Drain => &[(1, Action::Drain)],
            Self::Watches => &[(1, Action::Watch)],
            Self::Count => &[(1, Action::Count)],
            Self::CreateEphemeral => &[(1, Action::CreateEphemeral)],
            Self::CreateSeq => &[(1, Action::CreateSequential)],
            Self::Churn => &[(1, Action::Churn)],
            Self::Multi5 | Self::MultiLarge => &[(1, Action::Multi)],
            Self::ListHeavy => &[(90, Action::List), (5, Action::Create), (5, Action::Delete)],
            Self::Mixed => &[
                (1, Action::Create),
                (8, Action::Set),
                (45, Action::Get),
                (45, Action::List),
                (1, Action::Delete),
            ],
            Self::ProdMix => &[
                (38, Action::Get),
                (34, Action::Create),
                (9, Action::Set),
                (11, Action::Multi),
                (4, Action::List),
            ],
            Self::Read90 => &[(90, Action::Get), (10, Action::Set)],
            Self::Sessions | Self::WatchFanout => &[],
        }
    }

    /// How many children the listed directory has unless told otherwise: `mixed` is known with 100.
    pub(super) fn children_default(self) -> u32 {
        match self {
            Self::Mixed => 100,
            Self::ListHeavy => 1000,
            Self::Fill | Self::Drain => 0,
            _ => 10,
        }
    }

    /// Whether a null server can answer: it knows of no changes to tell of.
    pub(super) fn has_null_answers(self) -> bool {
        !matches!(self, Self::WatchFanout | Self::Sessions)
    }

    /// The sizes of values: one, or an even spread for `prod-mix`.
    fn value_sizes(self, value_size: usize) -> Vec<usize> {
        if self == Self::ProdMix {
            (0..=9).map(|i| i * 18).collect()
        } else {
            vec![value_size]
        }
    }

    /// The name on the command line.
    pub(super) fn name(self) -> String {
        self.to_possible_value()
            .map(|value| value.get_name().to_owned())
            .unwrap_or_default()
    }
}

/// A request of a mix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Get,
    Exists,
    List,
    Set,
    Create,
    CreateEphemeral,
    CreateSequential,
    Delete,
    Churn,
    Multi,
    Count,
    Fill,
    Drain,
    Watch,
}

impl Action {
    /// Whether the latency counts among the reads.
    pub(super) fn is_read(self) -> bool {
        matches!(
            self,
            Self::Get | Self::Exists | Self::List | Self::Count | Self::Watch
        )
    }
}

/// What a run works on.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    pub(super) workload: Workload,
    pub(super) root: String,
    pub(super) connections: u32,
    pub(super) keys: u32,
    pub(super) children: u32,
    pub(super) value_size: usize,
    pub(super) multi_ops: u32,
    /// What `fill` creates and `drain` deletes is in the listed directory.
    pub(super) flat: bool,
    /// The number of the first znode of `fill` and `drain`.
    pub(super) first: u32,
}

impl Shape {
    /// The path of a znode that is created: a directory's or connection's number, and its own.
    fn created(&self) -> String {
        let root = &self.root;
        let in_list = self.flat || self.workload == Workload::ListHeavy;
        if in_list {
            format!("{root}/l/n#-#")
        } else {
            format!("{root}/c#/n#")
        }
    }
}

/// What a run does and where: everything that its connections share.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) shape: Shape,
    frames: Frames,
    /// `fill` and `drain`: the next number, whichever connection takes it.
    next_number: AtomicU32,
}

#[derive(Clone, Debug)]
struct Frames {
    get: Template,
    exists: Template,
    watch: Template,
    list: Template,
    count: Template,
    delete: Template,
    set: Vec<Template>,
    create: Vec<Template>,
    ephemeral: Vec<Template>,
    sequential: Vec<Template>,
    multi: Vec<MultiFrame>,
}

#[derive(Clone, Debug)]
struct MultiFrame {
    template: Template,
    /// What its holes are for, in order.
    holes: Vec<Hole>,
}

#[derive(Clone, Copy, Debug)]
enum Hole {
    RandomKey,
    Connection,
    /// A znode that the multi leaves behind.
    NewName,
    /// A znode that is created and deleted inside the multi.
    PassingName,
}

impl Plan {
    pub(super) fn new(shape: Shape) -> Self {
        let sizes = shape.workload.value_sizes(shape.value_size);
        let root = &shape.root;
        let created = shape.created();
        let key = format!("{root}/k/#");
        let directory = format!("{root}/l");
        let creates = |mode, path: &str| -> Vec<Template> {
            sizes
                .iter()
                .map(|&size| Template::create(path, &value(size), mode))
                .collect()
        };
        let frames = Frames {
            get: Template::read(op::GET_DATA, &key, Watch::No),
            exists: Template::read(op::EXISTS, &key, Watch::No),
            watch: Template::read(op::EXISTS, &key, Watch::Yes),
            list: Template::read(op::GET_CHILDREN, &directory, Watch::No),
            count: Template::count(&directory),
            delete: Template::delete(&created),
            set: sizes
                .iter()
                .map(|&size| Template::set(&key, &value(size)))
                .collect(),
            create: creates(Mode::Persistent, &created),
            ephemeral: creates(Mode::Ephemeral, &created),
            sequential: creates(Mode::PersistentSequential, &format!("{root}/c#/s-")),
            multi: match shape.workload {
                Workload::ProdMix => (3..=7)
                    .map(|ops| creating_multi(&key, &created, &sizes, ops))
                    .collect(),
                Workload::MultiLarge => {
                    vec![setting_multi(&key, shape.value_size, shape.multi_ops)]
                }
                _ => vec![multi_of_five(&key, &created, shape.value_size)],
            },
        };
        let next_number = AtomicU32::new(shape.first);
        Self {
            shape,
            frames,
            next_number,
        }
    }
}

fn multi_of_five(key: &str, created: &str, value_size: usize) -> MultiFrame {
    let template = Template::new(op::MULTI)
        .multi_check(key)
        .multi_set(key, &value(value_size))
        .multi_set(key, &value(value_size))
        .multi_create(created, &value(value_size))
        .multi_delete(created)
        .multi_end();
    let holes = vec![
        Hole::RandomKey,
        Hole::RandomKey,
        Hole::RandomKey,
        Hole::Connection,
        Hole::PassingName,
        Hole::Connection,
        Hole::PassingName,
    ];
    MultiFrame { template, holes }
}

/// Sets of many keys at once.
fn setting_multi(key: &str, value_size: usize, ops: u32) -> MultiFrame {
    let value = value(value_size);
    let template = (0..ops).fold(Template::new(op::MULTI), |template, _| {
        template.multi_set(key, &value)
    });
    MultiFrame {
        template: template.multi_end(),
        holes: vec![Hole::RandomKey; ops as usize],
    }
}

/// A create followed by sets, each with another size of value.
fn creating_multi(key: &str, created: &str, sizes: &[usize], ops: usize) -> MultiFrame {
    let size = |i: usize| sizes[(ops + 3 * i) % sizes.len()];
    let mut template = Template::new(op::MULTI).multi_create(created, &value(size(0)));
    let mut holes = vec![Hole::Connection, Hole::NewName];
    for i in 1..ops {
        template = template.multi_set(key, &value(size(i)));
        holes.push(Hole::RandomKey);
    }
    MultiFrame {
        template: template.multi_end(),
        holes,
    }
}

/// Bytes that do not compress, so that no layer below gains from their being equal.
pub(super) fn value(size: usize) -> Vec<u8> {
    let mut random = Random::new(size as u64);
    (0..size).map(|_| random.next().to_le_bytes()[7]).collect()
}

/// The stream of requests of one connection.
#[derive(Debug)]
pub(super) struct Source<'p> {
    plan: &'p Plan,
    connection: u32,
    random: Random,
    weights: u32,
    created: u32,
    deleted: u32,
    watched: u32,
    /// What a multi's holes are filled with.
    numbers: Vec<u32>,
}

impl<'p> Source<'p> {
    pub(super) fn new(plan: &'p Plan, connection: u32) -> Self {
        let mix = plan.shape.workload.mix();
        let weights = mix.iter().map(|(weight, _)| weight).sum();
        let random = Random::new(u64::from(connection));
        Self {
            plan,
            connection,
            random,
            weights,
            created: 0,
            deleted: 0,
            watched: 0,
            numbers: Vec::new(),
        }
    }

    /// Whether it has sent everything: only `watches` comes to an end by itself.
    pub(super) fn is_done(&self) -> bool {
        self.plan.shape.workload == Workload::Watches && self.watched >= self.plan.shape.keys
    }

    /// Appends the next request to `out` and says what it is.
    pub(super) fn push_next(&mut self, out: &mut Vec<u8>, xid: i32) -> Action {
        let drawn = self.draw();
        let action = self.settle(drawn);
        let frames = &self.plan.frames;
        match action {
            Action::Get => frames
                .get
                .push(out, xid, &[self.random.below(self.plan.shape.keys)]),
            Action::Exists => {
                frames
                    .exists
                    .push(out, xid, &[self.random.below(self.plan.shape.keys)])
            }
            Action::List => frames.list.push(out, xid, &[]),
            Action::Set => {
                let frame = self.random.pick(&frames.set);
                frame.push(out, xid, &[self.random.below(self.plan.shape.keys)]);
            }
            Action::Create | Action::Churn => {
                let number = self.new_name();
                self.random
                    .pick(&frames.create)
                    .push(out, xid, &[self.connection, number]);
            }
            Action::CreateEphemeral => {
                let number = self.new_name();
                self.random
                    .pick(&frames.ephemeral)
                    .push(out, xid, &[self.connection, number]);
            }
            Action::CreateSequential => {
                self.random
                    .pick(&frames.sequential)
                    .push(out, xid, &[self.connection]);
            }
            Action::Delete => {
                frames
                    .delete
                    .push(out, xid, &[self.connection, self.deleted]);
                self.deleted += 1;
            }
            Action::Multi => self.push_multi(out, xid),
            Action::Count => frames.count.push(out, xid, &[]),
            Action::Fill => {
                let name = self.shared_name();
                self.random.pick(&frames.create).push(out, xid, &name);
            }
            Action::Drain => frames.delete.push(out, xid, &self.shared_name()),
            Action::Watch => {
                frames.watch.push(out, xid, &[self.watched]);
                self.watched += 1;
            }
        }
        action
    }

    /// The directory and the number of the next znode of `fill` and `drain`: a run of either has
    /// the numbers from the first on without a gap, however its connections share them.
    fn shared_name(&self) -> [u32; 2] {
        let number = self.plan.next_number.fetch_add(1, Ordering::Relaxed);
        [number % self.plan.shape.connections, number]
    }

    fn push_multi(&mut self, out: &mut Vec<u8>, xid: i32) {
        let multi = self.random.pick(&self.plan.frames.multi);
        let mut numbers = std::mem::take(&mut self.numbers);
        numbers.clear();
        for hole in &multi.holes {
            numbers.push(match hole {
                Hole::RandomKey => self.random.below(self.plan.shape.keys),
                Hole::Connection => self.connection,
                Hole::NewName => self.new_name(),
                Hole::PassingName => u32::MAX,
            });
        }
        multi.template.push(out, xid, &numbers);
        self.numbers = numbers;
    }

    fn draw(&mut self) -> Action {
        let mix = self.plan.shape.workload.mix();
        let mut left = self.random.below(self.weights);
        for &(weight, action) in mix {
            if left < weight {
                return action;
            }
            left -= weight;
        }
        Action::Exists
    }

    /// A delete needs a znode of its own that is there: requests of a connection run in order.
    fn settle(&self, action: Action) -> Action {
        let has_node = self.deleted < self.created;
        match action {
            Action::Delete if !has_node => Action::Create,
            Action::Churn if has_node => Action::Delete,
            other => other,
        }
    }

    fn new_name(&mut self) -> u32 {
        self.created += 1;
        self.created - 1
    }
}

/// xorshift64*: a draw costs about a nanosecond, and a run can be repeated.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: u32) -> u32 {
        let scaled = ((self.next() >> 32) * u64::from(limit)) >> 32;
        u32::try_from(scaled).unwrap_or(0)
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        if from.len() == 1 {
            return &from[0];
        }
        let index = self.below(u32::try_from(from.len()).unwrap_or(1));
        &from[index as usize]
    }
}
