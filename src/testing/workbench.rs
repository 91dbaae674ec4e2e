//! Running kernels alone: inputs on the device, outputs between guard words, and bugs planted on purpose.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use crate::gpu::{Dispatch, Gpu, Recorder, Tensor, Tier};
use crate::kernels::ShaderName;
use crate::kernels::rounding::int8_by_16;
use crate::kernels::{Planned, Planner, StepRow, Tuning};
use crate::{Error, Result};

/// A bug to plant, by which a check is checked: `from` stands in a shader once or more and becomes `to`.
#[derive(Debug, Clone, Copy)]
pub struct Bug {
    /// Name of the bug, unique: pipelines are kept under it.
    pub name: &'static str,
    /// A text in a shader.
    pub from: &'static str,
    /// What stands there instead.
    pub to: &'static str,
}

/// The shaders that ran.
type Seen = BTreeSet<String>;

fn shader_name(planned: &Planned) -> String {
    let ShaderName { stem, variant } = planned.shader();
    let subgroups = if planned.uses_subgroups() { "subgroups" } else { "" };
    let words = [stem, variant, subgroups].into_iter().filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ")
}

/// Runs kernels, as they are or with a bug planted.
#[derive(Debug)]
pub struct Workbench<'a> {
    /// Plans for its device.
    pub planner: Planner<'a>,
    /// Whether few shapes are enough: those that most kernels of a model share.
    pub brief: bool,
    bug: Option<Bug>,
    seen: Arc<Mutex<Seen>>,
}

impl<'a> Workbench<'a> {
    /// Kernels of `tier` with the workgroup sizes that suit the device.
    pub fn new(gpu: &'a Gpu, tier: Tier, bug: Option<Bug>) -> Self {
        Workbench { planner: Planner::new(gpu).with_tier(tier), brief: false, bug, seen: Arc::default() }
    }

    /// The same with other workgroup sizes.
    #[must_use]
    pub fn tuned(&self, change: impl FnOnce(&mut Tuning)) -> Workbench<'a> {
        let mut planner = Planner::new(self.planner.gpu).with_tier(self.planner.tier);
        planner.tuning = self.planner.tuning;
        change(&mut planner.tuning);
        Workbench { planner, brief: self.brief, bug: self.bug, seen: self.seen.clone() }
    }

    /// Whether pipelines are few too: a CPU takes long for each.
    pub fn is_hasty(&self) -> bool {
        self.brief && self.gpu().adapter().is_software()
    }

    /// The device.
    pub fn gpu(&self) -> &'a Gpu {
        self.planner.gpu
    }

    /// The shaders that have run so far: stem, variant, and whether lanes added up within subgroups.
    pub fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// A padded tensor of `values`.
    ///
    /// # Errors
    /// [`Error::Memory`] where there is no room.
    pub fn tensor(&self, width: usize, values: &[f32]) -> Result<Tensor> {
        Tensor::from_rows(self.gpu(), "input", width, values)
    }

    /// A tensor without padding.
    ///
    /// # Errors
    /// [`Error::Memory`] where there is no room.
    pub fn compact<T: bytemuck::Pod>(&self, width: usize, values: &[T]) -> Result<Tensor> {
        let words: &[u32] = bytemuck::cast_slice(values);
        let tensor = Tensor::compact(self.gpu(), "input", words.len() / width, width)?;
        self.gpu().write(&tensor.buffer, 0, words)?;
        Ok(tensor)
    }

    /// The rows of a step as the kernels bind them.
    ///
    /// # Errors
    /// [`Error::Memory`] where there is no room.
    pub fn rows(&self, rows: &[StepRow]) -> Result<Tensor> {
        self.compact(8, bytemuck::cast_slice::<StepRow, u32>(rows))
    }

    /// Compiles and binds.
    ///
    /// # Errors
    /// Those of [`Planner::bind`].
    pub fn bind(&self, planned: &[Planned]) -> Result<Vec<Dispatch>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).extend(planned.iter().map(shader_name));
        match self.bug {
            None => self.planner.bind_all(planned),
            // Of several kernels not every one has the bug's text.
            Some(Bug { name, from, to }) => self.planner.bind_altered(planned, name, |text| text.replace(from, to)),
        }
    }

    /// Runs `planned` for a step of `n_rows` rows and returns what stands in the written part of `outputs`.
    ///
    /// # Errors
    /// [`Error::Run`] where anything else of them has changed, and those of the device.
    pub fn run(&self, planned: &[Planned], n_rows: usize, outputs: &[&Output]) -> Result<Vec<Vec<f32>>> {
        self.run_bound(&self.bind(planned)?, n_rows, outputs)
    }

    /// As [`Workbench::run`] of kernels that are bound already.
    ///
    /// # Errors
    /// As [`Workbench::run`].
    pub fn run_bound(&self, dispatches: &[Dispatch], n_rows: usize, outputs: &[&Output]) -> Result<Vec<Vec<f32>>> {
        let mut recorder = Recorder::new(self.gpu());
        for dispatch in dispatches {
            recorder.dispatch(dispatch, n_rows);
        }
        let mut copies = Vec::new();
        for output in outputs {
            let raw = output.raw();
            copies.push(recorder.read_back(&raw, raw.rows)?);
        }
        recorder.submit();
        let read = outputs.iter().zip(copies).map(|(output, copy)| {
            let words = copy.read(self.gpu(), output.tensor.rows)?;
            self.gpu().forget_bytes(copy.size_bytes());
            output.written(&words)
        });
        read.collect()
    }

    /// As [`Workbench::run`] for a single output.
    ///
    /// # Errors
    /// As [`Workbench::run`].
    pub fn run_for(&self, planned: &[Planned], n_rows: usize, output: &Output) -> Result<Vec<f32>> {
        Ok(self.run(planned, n_rows, &[output])?.remove(0))
    }
}

/// What fills outputs before a run: a NaN, so that a kernel that reads what it should have written shows it.
const CANARY: u32 = 0x7fc0_5eed;
/// Rows of an output behind those that a kernel may write.
const GUARD_ROWS: usize = 2;

/// A tensor that a kernel writes, with guard words in its padding and behind its rows.
#[derive(Debug)]
pub struct Output {
    /// The tensor, guard rows and all.
    pub tensor: Tensor,
    before: Vec<u32>,
    rows: usize,
}

impl Output {
    /// Padded rows full of guard words.
    ///
    /// # Errors
    /// [`Error::Memory`] where there is no room.
    pub fn new(gpu: &Gpu, rows: usize, width: usize) -> Result<Self> {
        let tensor = Tensor::new(gpu, "output", rows + GUARD_ROWS, width)?;
        let before = vec![CANARY; tensor.rows * tensor.stride];
        Self::filled(gpu, tensor, before, rows)
    }

    /// Rows without padding, full of guard words.
    ///
    /// # Errors
    /// [`Error::Memory`] where there is no room.
    pub fn compact(gpu: &Gpu, rows: usize, width: usize) -> Result<Self> {
        let tensor = Tensor::compact(gpu, "output", rows + GUARD_ROWS, width)?;
        let before = vec![CANARY; tensor.rows * tensor.stride];
        Self::filled(gpu, tensor, before, rows)
    }

    /// Padded rows that hold `values` before the run; padding and the rows behind are guard words.
    ///
    /// # Errors
    /// [`Error::Memory`] where there is no room.
    pub fn in_place(gpu: &Gpu, width: usize, values: &[f32]) -> Result<Self> {
        let rows = values.len() / width;
        let tensor = Tensor::new(gpu, "in place", rows + GUARD_ROWS, width)?;
        let mut before = vec![CANARY; tensor.rows * tensor.stride];
        for (to, from) in before.chunks_exact_mut(tensor.stride).zip(values.chunks_exact(width)) {
            to[..width].copy_from_slice(bytemuck::cast_slice(from));
        }
        Self::filled(gpu, tensor, before, rows)
    }

    /// Activations of `width` values rounded to int8, as rounded tensors begin: blocks beyond a row's end stay zero.
    ///
    /// # Errors
    /// [`Error::Memory`] where there is no room.
    pub fn rounded(gpu: &Gpu, rows: usize, width: usize) -> Result<Self> {
        let words = int8_by_16::tensor(gpu, "rounded", rows + GUARD_ROWS, width)?;
        let mut before = vec![0; rows * words.stride];
        before.resize(words.rows * words.stride, CANARY);
        Self::filled(gpu, words, before, rows)
    }

    fn filled(gpu: &Gpu, tensor: Tensor, before: Vec<u32>, rows: usize) -> Result<Self> {
        gpu.write(&tensor.buffer, 0, &before)?;
        Ok(Output { tensor, before, rows })
    }

    /// The whole buffer, padding included.
    fn raw(&self) -> Tensor {
        Tensor { width: self.tensor.stride, ..self.tensor.clone() }
    }

    /// The rows that may be written, after a check that nothing else was.
    fn written(&self, after: &[u32]) -> Result<Vec<f32>> {
        let Tensor { width, stride, .. } = self.tensor;
        let mut values = Vec::with_capacity(self.rows * width);
        for (i, (&now, &then)) in after.iter().zip(&self.before).enumerate() {
            let (row, column) = (i / stride, i % stride);
            if row < self.rows && column < width {
                values.push(f32::from_bits(now));
            } else if now != then {
                return Err(Error::run(format!(
                    "guard word at row {row}, column {column} of [{}, {width}] was written",
                    self.rows
                )));
            }
        }
        Ok(values)
    }
}

/// True for a value that no kernel has written since the output was made.
pub fn is_untouched(value: f32) -> bool {
    value.to_bits() == CANARY
}

/// The rows of a step, from (slot, position, token). Rows of a slot stand together, by ascending position.
pub fn step_rows(rows: &[(u32, u32, u32)]) -> Vec<StepRow> {
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

/// `f` of each row, one after the other.
pub fn by_row(values: &[f32], width: usize, f: impl FnMut(&[f32]) -> Vec<f32>) -> Vec<f32> {
    values.chunks_exact(width).flat_map(f).collect()
}
