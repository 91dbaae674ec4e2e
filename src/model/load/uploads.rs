//! The weights' way from files to devices: many threads read, repack and upload parts of matrices whose memory is taken
//! already. A part is a few megabytes, so that host memory stays at a few dozen of them whatever the model's size; results
//! do not depend on which thread takes which.

use std::ops::Range;
use std::sync::{Arc, Mutex};

use super::options::Progress;
use crate::checkpoint::{Checkpoint, MatrixInfo};
use crate::error::Place;
use crate::gpu::{Gpu, UPLOADER_BYTES, Uploader};
use crate::kernels::{HostStack, Spot, Weights};
use crate::parallel::Part;
use crate::quant::requantize::{self, Deviation, Requantized, requantize};
use crate::quant::{Format, Matrix, StoredGroups};
use crate::{Error, Result, threads};

/// Bytes of a file that are read at a time, of the matrices that are larger: what fits a core's cache, and what allocators
/// keep instead of giving it back to the system.
const BLOCK_BYTES: u64 = 1 << 20;
/// Rows of a block are a multiple of it, where one has as many: whole words and whole tiles.
const BLOCK_ROWS: usize = 64;
/// Rows of a block of codes at least: GPTQ has them in columns, and shorter pieces of a line take longer to ask for than to
/// read.
const MIN_PACKED_ROWS: usize = 512;
/// Most threads that load: each holds a few blocks, and fewer reach what a bus can carry.
const MAX_THREADS: usize = 16;

/// All that is to be read and uploaded.
pub(crate) struct Uploads<'a> {
    checkpoint: &'a Checkpoint,
    /// The devices, each once.
    gpus: Vec<Arc<Gpu>>,
    jobs: Vec<Job<'a>>,
}

/// A matrix that is read once, and where its parts go.
pub(crate) struct Source<'a> {
    pub name: String,
    pub info: &'a MatrixInfo,
    /// As its data has it.
    pub format: Format,
    /// What a dense matrix becomes.
    pub requantized_bits: Option<u32>,
    pub targets: Vec<Target>,
}

/// What a rank takes of a matrix, and where in its weights that lies.
pub(crate) struct Target {
    pub gpu: Arc<Gpu>,
    pub weights: Arc<Weights>,
    /// Host memory that takes it instead: `weights` are its window.
    pub host: Option<Arc<HostStack>>,
    pub part: Part,
    /// Where the part begins.
    pub spot: Spot,
    pub stored: StoredGroups,
}

/// Some rows of a source.
struct Job<'a> {
    source: Arc<Source<'a>>,
    rows: Range<usize>,
}

impl<'a> Uploads<'a> {
    pub(crate) fn new(checkpoint: &'a Checkpoint, gpus: impl Iterator<Item = Arc<Gpu>>) -> Self {
        let mut distinct: Vec<Arc<Gpu>> = Vec::new();
        for gpu in gpus {
            if !distinct.iter().any(|known| Arc::ptr_eq(known, &gpu)) {
                distinct.push(gpu);
            }
        }
        Uploads { checkpoint, gpus: distinct, jobs: Vec::new() }
    }

    /// Adds `source` in blocks.
    pub(crate) fn add(&mut self, source: Source<'a>) {
        let (n, source) = (source.info.out_features, Arc::new(source));
        let fits = (BLOCK_BYTES as u128 * n as u128 / u128::from(source.info.size_bytes.max(1))) as usize;
        let fits = match source.info.format {
            Format::Dense(_) => fits.max(1),
            Format::Grouped(_) => fits.max(MIN_PACKED_ROWS),
        };
        let block = if fits > BLOCK_ROWS { fits / BLOCK_ROWS * BLOCK_ROWS } else { fits };
        let rows = (0..n).step_by(block).map(|first| first..n.min(first + block));
        self.jobs.extend(rows.map(|rows| Job { source: source.clone(), rows }));
    }

    /// Bytes of staging memory that it takes at most on each device, while it runs.
    pub(crate) fn staging_bytes(&self) -> u64 {
        self.threads().min(self.jobs.len()) as u64 * UPLOADER_BYTES
    }

    fn threads(&self) -> usize {
        threads::available().min(MAX_THREADS)
    }

    /// Does all of it; returns what requantizing changed.
    ///
    /// # Errors
    /// [`crate::Error::Model`] and [`crate::Error::Io`] of the first part in order that cannot be read any more;
    /// [`crate::Error::Run`] where a device has failed.
    pub(crate) fn run(&self, progress: &(dyn Fn(Progress) + Sync)) -> Result<Option<Deviation>> {
        let total = self.jobs.iter().map(Job::size_bytes).sum();
        let done = Mutex::new(0);
        let uploaders = || self.gpus.iter().map(|gpu| gpu.uploader()).collect::<Vec<_>>();
        let work = |uploaders: &mut Vec<Uploader>, job: &Job| {
            let deviation = self.upload(job, uploaders)?;
            // Held while the caller is told: it hears of growing numbers only.
            let mut done = done.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            *done += job.size_bytes();
            progress(Progress::Weights { done: *done, total });
            Ok(deviation)
        };
        let deviations = threads::map_in_order(&self.jobs, self.threads(), uploaders, work)?;
        self.gpus.iter().try_for_each(|gpu| gpu.wait())?;
        self.checkpoint.check_unchanged()?;
        Ok(deviations.into_iter().flatten().reduce(|mut sum, more| {
            sum.merge(more);
            sum
        }))
    }

    fn upload(&self, job: &Job, uploaders: &mut [Uploader]) -> Result<Option<Deviation>> {
        let (source, mut deviation) = (&job.source, None);
        let mut matrix = self.checkpoint.load_part(source.info, source.format, job.rows.clone())?;
        if let (Some(bits), Matrix::Dense(dense)) = (source.requantized_bits, &matrix) {
            let Requantized { packed, deviation: found } =
                requantize(&source.name, job.rows.start, dense, bits, requantize::GROUP_SIZE)?;
            (matrix, deviation) = (Matrix::Packed(packed), Some(found));
        }
        for target in &source.targets {
            let number = self.gpus.iter().position(|gpu| Arc::ptr_eq(gpu, &target.gpu));
            let uploader = &mut uploaders[number.expect("every rank's device is among them")];
            target.upload(uploader, &job.rows, &matrix).map_err(|error| match error {
                Error::Model(faults) => Error::Model(faults.map(|fault| fault.at(Place::tensor(&source.name)))),
                other => other,
            })?;
        }
        Ok(deviation)
    }
}

impl Job<'_> {
    /// Its share of the matrix's bytes in the file.
    fn size_bytes(&self) -> u64 {
        let info = self.source.info;
        let before = |row: usize| (u128::from(info.size_bytes) * row as u128 / info.out_features as u128) as u64;
        before(self.rows.end) - before(self.rows.start)
    }
}

impl Target {
    /// Uploads what the part takes of `matrix`, which holds the output features `outputs` of the whole.
    fn upload(&self, uploader: &mut Uploader, outputs: &Range<usize>, matrix: &Matrix) -> Result<()> {
        let from = |row: usize| Spot { row: self.spot.row + row, ..self.spot };
        let mut write = |spot: Spot, matrix: &Matrix| match &self.host {
            Some(host) => host.write(spot, matrix),
            None => self.weights.write(uploader, spot, matrix),
        };
        match &self.part {
            Part::Columns(own) => {
                let (start, end) = (own.start.max(outputs.start), own.end.min(outputs.end));
                if start >= end {
                    return Ok(());
                }
                let spot = from(start - own.start);
                match (start..end) == *outputs {
                    true => write(spot, matrix),
                    false => {
                        let own_rows = start - outputs.start..end - outputs.start;
                        write(spot, &matrix.column_shard(own_rows)?)
                    }
                }
            }
            Part::Rows(own) if *own != (0..matrix.in_features()) => {
                let shard = matrix.row_shard(own.clone(), self.stored)?;
                write(from(outputs.start), &shard)
            }
            Part::Rows(_) | Part::Whole => write(from(outputs.start), matrix),
        }
    }
}
