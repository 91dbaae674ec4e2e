//! What the tests of kernels share: inputs from seeds, one device, runs that watch guard words, derived tolerances.
#![allow(dead_code, unused_imports, reason = "each test binary uses its own part")]

pub(crate) mod device;
pub(crate) mod not_run;
pub(crate) mod seed;
pub(crate) mod tolerance;

use std::cell::Cell;
use std::ops::{Deref, DerefMut};
use std::panic::{AssertUnwindSafe, catch_unwind};

use lapidary::gpu::{Gpu, Kind, Tier};
use lapidary::testing::gpu::{Recorder, Tensor};
use lapidary::testing::kernels::tuning::{MatvecTuning, Shape};
use lapidary::testing::kernels::{Planned, SHADERS, StepRow, Tuning};
use lapidary::testing::kernels::{tuning, tuning_mut};
use lapidary::testing::workbench;
use lapidary::testing::workbench::Workbench;
pub(crate) use lapidary::testing::workbench::{Bug, by_row, is_untouched, step_rows};
pub(crate) use lapidary::testing::{matrices, random};
use lapidary::{Error, Result};

/// The device of this test.
pub(crate) fn gpu() -> &'static Gpu {
    device::device()
}

/// The tables of all kinds of devices; of those that have the same `part`, the first alone.
pub(crate) fn tables<T: PartialEq>(part: impl Fn(&Tuning) -> T) -> Vec<Tuning> {
    let mut all: Vec<Tuning> = Vec::new();
    for kind in Kind::ALL {
        let table = Tuning::of(kind);
        if all.iter().all(|other| part(other) != part(&table)) {
            all.push(table);
        }
    }
    all
}

thread_local! {
    /// The bug that new runners of this thread plant.
    static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
}

/// What `check` panics with while `bug` is planted in every shader that this thread runs; `None` where it sees nothing.
pub(crate) fn failure_with(bug: Bug, check: impl FnOnce()) -> Option<String> {
    let has_text = SHADERS.iter().any(|s| [false, true].iter().any(|&subgroups| s.wgsl(subgroups).contains(bug.from)));
    assert!(has_text, "bug \"{}\" {NOT_PLANTED}: no shader has \"{}\"", bug.name, bug.from);
    PLANTED.set(Some(bug));
    let result = catch_unwind(AssertUnwindSafe(check));
    PLANTED.set(None);
    gpu().check().unwrap_or_else(|e| panic!("bug \"{}\" {NOT_PLANTED}: {e}", bug.name));
    let panic = result.err()?;
    let message = panic.downcast_ref::<String>().cloned().unwrap_or_else(|| "a panic without a message".to_string());
    assert!(!message.contains(NOT_PLANTED), "{message}");
    Some(message)
}

/// Numbers that are others in each run; with a bug planted they are always the same, since luck could hide it.
pub(crate) fn fresh(number: u64) -> random::Random {
    random::Random::new(if PLANTED.get().is_some() { number } else { seed::seed(number) })
}

/// Marks the failure to plant a bug, which is no success of a check.
const NOT_PLANTED: &str = "cannot be planted";

/// Runs kernels on the device of all tests, as they are or with a bug planted.
pub(crate) struct Runner(Workbench<'static>);

impl Deref for Runner {
    type Target = Workbench<'static>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Runner {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl Runner {
    pub(crate) fn new() -> Self {
        Runner(Workbench::new(gpu(), Tier::Plain, PLANTED.get()))
    }

    /// With this many lanes for a product's output feature.
    pub(crate) fn with_lanes(lanes: u32) -> Self {
        let mut runner = Self::new();
        let lane_rows = if lanes > 16 { 1 } else { 4 };
        tuning_mut(&mut runner.planner).matvec =
            MatvecTuning::fixed(Shape { threads: lanes.max(64), lanes, lane_rows });
        runner
    }

    /// With the tiles of a table, on whatever device the tests run.
    pub(crate) fn with_tiles(of: Tuning) -> Self {
        let mut runner = Self::new();
        // Products as that kind of device runs them; the rest as this one does.
        *tuning_mut(&mut runner.planner) = Tuning { tiles: of.tiles, experts: of.experts, ..*tuning(&runner.planner) };
        runner
    }

    /// With this many lanes for a row's reduction.
    pub(crate) fn with_threads(threads: u32) -> Self {
        let mut runner = Self::new();
        tuning_mut(&mut runner.planner).norms.threads = threads.min(256);
        tuning_mut(&mut runner.planner).norms.row_threads = threads;
        runner
    }

    /// As [`Runner::with_threads`], through workgroup memory and by subgroups.
    pub(crate) fn both_with_threads(threads: u32) -> [Self; 2] {
        [Tier::Plain, Tier::Dot].map(|tier| {
            let mut runner = Self::with_threads(threads);
            // One of the two as GPUs of few registers run it.
            tuning_mut(&mut runner.planner).norms.late = tier == Tier::Dot;
            (runner.planner.tier, runner.planner.few_tier) = (tier, tier);
            runner
        })
    }

    /// What `result` holds; a shader that the device rejects is no bug that was planted.
    pub(crate) fn taken<T>(result: Result<T>) -> T {
        result.unwrap_or_else(|error| match (error, PLANTED.get()) {
            (Error::Device(e), Some(_)) => panic!("{NOT_PLANTED}: {e}"),
            (error, _) => panic!("{error}"),
        })
    }

    /// Runs `planned` for a step of `n_rows` rows and returns what stands in the written part of `outputs`. Panics where
    /// anything else of them has changed.
    pub(crate) fn run(&self, planned: &[Planned], n_rows: usize, outputs: &[&Output]) -> Vec<Vec<f32>> {
        let outputs: Vec<&workbench::Output> = outputs.iter().map(|output| &output.0).collect();
        Self::taken(self.0.run(planned, n_rows, &outputs))
    }

    /// As [`Runner::run`] with each text changed as `alter` says under a name of its own, behind a planted bug.
    pub(crate) fn run_altered(
        &self,
        (name, alter): (&'static str, impl Fn(&str) -> String),
        planned: &[Planned],
        n_rows: usize,
        outputs: &[&Output],
    ) -> Vec<Vec<f32>> {
        let bug = PLANTED.get();
        // A test's names may stay in memory.
        let name = bug.map_or(name, |bug| Box::leak(format!("{name}, {}", bug.name).into_boxed_str()));
        let text = |text: &str| alter(&bug.map_or_else(|| text.to_string(), |bug| text.replace(bug.from, bug.to)));
        let dispatches = Self::taken(lapidary::testing::kernels::bind_altered(&self.0.planner, planned, name, text));
        let outputs: Vec<&workbench::Output> = outputs.iter().map(|output| &output.0).collect();
        Self::taken(self.0.run_bound(&dispatches, n_rows, &outputs))
    }

    /// The first `n` words of an output's buffer after `planned`, guard words and all.
    pub(crate) fn run_raw(&self, planned: Planned, output: &Output, n: usize) -> Vec<u32> {
        let mut recorder = Recorder::new(gpu());
        for dispatch in Self::taken(self.0.bind(&[planned])) {
            recorder.dispatch(&dispatch, 1);
        }
        let all = Tensor { rows: 1, width: n, stride: n, ..output.tensor.clone() };
        let copy = recorder.read_back(&all, 1).expect("a buffer to read back");
        recorder.submit();
        copy.read(gpu(), 1).expect("a result")
    }

    /// The words of the rows that `planned` may write, after a check that nothing behind them changed.
    pub(crate) fn run_raw_rows(&self, planned: Planned, output: &Output, n_rows: usize) -> Vec<u32> {
        self.run(&[planned], n_rows, &[output]).remove(0).into_iter().map(f32::to_bits).collect()
    }

    /// As [`Runner::run`] for a single kernel with a single output.
    pub(crate) fn run_one(&self, planned: Planned, n_rows: usize, output: &Output) -> Vec<f32> {
        self.run(&[planned], n_rows, &[output]).remove(0)
    }
}

/// A tensor that a kernel writes, with guard words in its padding and behind its rows.
pub(crate) struct Output(workbench::Output);

impl Deref for Output {
    type Target = workbench::Output;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Output {
    /// Padded rows full of guard words.
    pub(crate) fn new(rows: usize, width: usize) -> Self {
        Output(workbench::Output::new(gpu(), rows, width).expect("memory"))
    }

    /// Rows without padding, full of guard words.
    pub(crate) fn compact(rows: usize, width: usize) -> Self {
        Output(workbench::Output::compact(gpu(), rows, width).expect("memory"))
    }

    /// Padded rows that hold `values` before the run; padding and the rows behind are guard words.
    pub(crate) fn in_place(width: usize, values: &[f32]) -> Self {
        Output(workbench::Output::in_place(gpu(), width, values).expect("memory"))
    }
}

/// A padded tensor of `values`.
pub(crate) fn tensor(width: usize, values: &[f32]) -> Tensor {
    Tensor::from_rows(gpu(), "input", width, values).expect("memory")
}

/// A tensor without padding.
pub(crate) fn compact<T: bytemuck::Pod>(width: usize, values: &[T]) -> Tensor {
    let words: &[u32] = bytemuck::cast_slice(values);
    let tensor = Tensor::compact(gpu(), "input", words.len() / width, width).expect("memory");
    gpu().write(&tensor.buffer, 0, words).expect("an upload");
    tensor
}

/// The rows of a step as the kernels bind them.
pub(crate) fn rows_tensor(rows: &[StepRow]) -> Tensor {
    compact(8, bytemuck::cast_slice::<StepRow, u32>(rows))
}
