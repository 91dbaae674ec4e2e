//! What the tests of kernels share: inputs from a seed, one device, runs that watch guard words, derived tolerances.
#![allow(dead_code, reason = "each test binary uses its own part")]

pub(crate) mod matrices;
pub(crate) mod random;
pub(crate) mod tolerance;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;

use lapidary::gpu::{Dispatch, Gpu, Mask, Recorder, Tensor};
use lapidary::kernels::{Planned, Planner, SHADERS, Spread, StepRow, Tuning};

/// The device of all tests. None is a failure.
pub(crate) fn gpu() -> &'static Gpu {
    static GPU: OnceLock<Gpu> = OnceLock::new();
    GPU.get_or_init(|| {
        let gpu = open();
        println!("adapter: {}, {}, without \"{}\"", gpu.adapter().info.name, gpu.adapter().driver(), gpu.mask());
        gpu
    })
}

/// A new device: the default adapter, or the one that LAPIDARY_TEST_ADAPTER names, without what LAPIDARY_TEST_WITHOUT does
/// (as [`Mask`] is written).
pub(crate) fn open() -> Gpu {
    let said = |name| std::env::var(name).ok();
    let mask: Mask = said("LAPIDARY_TEST_WITHOUT").unwrap_or_default().parse().expect("LAPIDARY_TEST_WITHOUT");
    let wanted = said("LAPIDARY_TEST_ADAPTER");
    Gpu::open_without(wanted.as_deref(), 0, &mask).expect("tests need an adapter; lavapipe will do")
}

/// A bug to plant: `from` stands in a shader once or more and becomes `to`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bug {
    /// Name of the bug, unique: pipelines are kept under it.
    pub(crate) name: &'static str,
    pub(crate) from: &'static str,
    pub(crate) to: &'static str,
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

/// Marks the failure to plant a bug, which is no success of a check.
const NOT_PLANTED: &str = "cannot be planted";

/// Runs kernels, as they are or with a bug planted.
pub(crate) struct Runner {
    pub(crate) planner: Planner<'static>,
    bug: Option<Bug>,
}

impl Runner {
    pub(crate) fn new() -> Self {
        Runner { planner: Planner::new(gpu()), bug: PLANTED.get() }
    }

    /// With this many lanes for a product's output feature.
    pub(crate) fn with_lanes(lanes: u32) -> Self {
        let mut runner = Self::new();
        let lane_rows = if lanes > 16 { 1 } else { 4 };
        runner.planner.tuning.matvec = Spread::Fixed { threads: lanes.max(64), lanes, lane_rows };
        runner
    }

    /// With the tiles of GPUs or of software adapters, on whatever device the tests run.
    pub(crate) fn with_tiles(of: Tuning) -> Self {
        let mut runner = Self::new();
        // Products as that kind of device runs them; the rest as this one does.
        let own = runner.planner.tuning;
        let Tuning { matvec, threads, attention_threads, attention_block, attention_workgroups, .. } = own;
        runner.planner.tuning =
            Tuning { matvec, threads, attention_threads, attention_block, attention_workgroups, ..of };
        runner
    }

    /// With this many lanes for a row's reduction.
    pub(crate) fn with_threads(threads: u32) -> Self {
        let mut runner = Self::new();
        runner.planner.tuning.threads = threads.min(256);
        runner.planner.tuning.norm_threads = threads;
        runner
    }

    fn bind(&self, planned: &[Planned]) -> Vec<Dispatch> {
        let bound = match self.bug {
            None => self.planner.bind_all(planned),
            // Of several kernels not every one has the bug's text.
            Some(Bug { name, from, to }) => self.planner.bind_altered(planned, name, |text| text.replace(from, to)),
        };
        bound.unwrap_or_else(|e| panic!("{}: {e}", self.bug.map_or("kernels", |_| NOT_PLANTED)))
    }

    /// Runs `planned` for a step of `n_rows` rows and returns what stands in the written part of `outputs`. Panics where
    /// anything else of them has changed.
    pub(crate) fn run(&self, planned: &[Planned], n_rows: usize, outputs: &[&Output]) -> Vec<Vec<f32>> {
        let dispatches = self.bind(planned);
        let mut recorder = Recorder::new(gpu());
        for dispatch in &dispatches {
            recorder.dispatch(dispatch, n_rows);
        }
        let copies: Vec<_> = outputs
            .iter()
            .map(|output| {
                let raw = output.raw();
                recorder.read_back(&raw, raw.rows).expect("a buffer to read back")
            })
            .collect();
        recorder.submit();
        outputs
            .iter()
            .zip(copies)
            .map(|(output, copy)| output.written(&copy.read(gpu(), output.tensor.rows).expect("a result")))
            .collect()
    }

    /// The first `n` words of an output's buffer after `planned`, guard words and all.
    pub(crate) fn run_raw(&self, planned: Planned, output: &Output, n: usize) -> Vec<u32> {
        let mut recorder = Recorder::new(gpu());
        for dispatch in self.bind(&[planned]) {
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

/// What fills outputs before a run: a NaN, so that a kernel that reads what it should have written shows it.
const CANARY: u32 = 0x7fc0_5eed;
/// Rows of an output behind those that a kernel may write.
const GUARD_ROWS: usize = 2;

/// A tensor that a kernel writes, with guard words in its padding and behind its rows.
pub(crate) struct Output {
    pub(crate) tensor: Tensor,
    before: Vec<u32>,
    rows: usize,
}

impl Output {
    /// Padded rows full of guard words.
    pub(crate) fn new(rows: usize, width: usize) -> Self {
        let tensor = Tensor::new(gpu(), "output", rows + GUARD_ROWS, width).expect("memory");
        let before = vec![CANARY; tensor.rows * tensor.stride];
        Self::filled(tensor, before, rows)
    }

    /// Rows without padding, full of guard words.
    pub(crate) fn compact(rows: usize, width: usize) -> Self {
        let tensor = Tensor::compact(gpu(), "output", rows + GUARD_ROWS, width).expect("memory");
        let before = vec![CANARY; tensor.rows * tensor.stride];
        Self::filled(tensor, before, rows)
    }

    /// Padded rows that hold `values` before the run; padding and the rows behind are guard words.
    pub(crate) fn in_place(width: usize, values: &[f32]) -> Self {
        let rows = values.len() / width;
        let tensor = Tensor::new(gpu(), "in place", rows + GUARD_ROWS, width).expect("memory");
        let mut before = vec![CANARY; tensor.rows * tensor.stride];
        for (to, from) in before.chunks_exact_mut(tensor.stride).zip(values.chunks_exact(width)) {
            to[..width].copy_from_slice(bytemuck::cast_slice(from));
        }
        Self::filled(tensor, before, rows)
    }

    fn filled(tensor: Tensor, before: Vec<u32>, rows: usize) -> Self {
        gpu().write(&tensor.buffer, 0, &before).expect("an upload");
        Output { tensor, before, rows }
    }

    /// The whole buffer, padding included.
    fn raw(&self) -> Tensor {
        Tensor { width: self.tensor.stride, ..self.tensor.clone() }
    }

    /// The rows that may be written, after a check that nothing else was.
    fn written(&self, after: &[u32]) -> Vec<f32> {
        let Tensor { width, stride, .. } = self.tensor;
        let mut values = Vec::with_capacity(self.rows * width);
        for (i, (&now, &then)) in after.iter().zip(&self.before).enumerate() {
            let (row, column) = (i / stride, i % stride);
            if row < self.rows && column < width {
                values.push(f32::from_bits(now));
            } else {
                assert_eq!(
                    now, then,
                    "guard word at row {row}, column {column} of [{}, {width}] was written",
                    self.rows
                );
            }
        }
        values
    }
}

/// True for a value that no kernel has written since the output was made.
pub(crate) fn is_untouched(value: f32) -> bool {
    value.to_bits() == CANARY
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

/// The rows of a step, from (slot, position, token). Rows of a slot stand together, by ascending position.
pub(crate) fn step_rows(rows: &[(u32, u32, u32)]) -> Vec<StepRow> {
    rows.iter()
        .map(|&(slot, position, token)| {
            let first = rows.iter().position(|r| r.0 == slot).expect("the row itself");
            let last = rows.iter().rposition(|r| r.0 == slot).expect("the row itself");
            StepRow {
                token,
                slot,
                position,
                first: first as u32,
                first_position: rows[first].1,
                last_position: rows[last].1,
                pad: [0; 2],
            }
        })
        .collect()
}

/// The rows of a step as the kernels bind them.
pub(crate) fn rows_tensor(rows: &[StepRow]) -> Tensor {
    compact(8, bytemuck::cast_slice::<StepRow, u32>(rows))
}

/// `f` of each row, one after the other.
pub(crate) fn by_row(values: &[f32], width: usize, f: impl FnMut(&[f32]) -> Vec<f32>) -> Vec<f32> {
    values.chunks_exact(width).flat_map(f).collect()
}
