//! Filling stacks of weights: matrix by matrix as they come, or in any order and from several threads where the format
//! of all is known before.

use std::borrow::Cow;

use super::weights::{Extent, Part, Spot, Weights, row_words};
use crate::error::{Bound, Fault, NoRoom, Place};
use crate::gpu::{Gpu, Recorder, Upload};
use crate::kernels::Planner;
use crate::kernels::rows::fill_random;
use crate::quant::{CHUNK, Format, Grouped, Groups, Matrix, Order, PackedMatrix, RandomBits, ShardGroups, Shift};
use crate::{Error, Result};

/// Uploads a stack matrix by matrix, or a large matrix by row blocks.
#[derive(Debug)]
pub struct WeightsBuilder<'a> {
    gpu: &'a Gpu,
    label: String,
    n_matrices: usize,
    first_matrix: usize,
    out_features: usize,
    in_features: usize,
    max_part_bytes: u64,
    size_bytes: u64,
    /// Of the matrices that came so far.
    format: Option<Format>,
    extent: Extent,
    parts: Vec<Part>,
    /// Rows uploaded so far, of all matrices.
    rows: usize,
    per_row: bool,
    /// Group indices of the matrices that came before the first act-order one.
    sequential: Vec<(usize, ShardGroups)>,
}

impl<'a> WeightsBuilder<'a> {
    /// An empty stack; memory is taken when the first matrix shows its format.
    pub fn new(gpu: &'a Gpu, label: &str, n_matrices: usize, out_features: usize, in_features: usize) -> Self {
        WeightsBuilder {
            gpu,
            label: label.to_string(),
            n_matrices,
            first_matrix: 0,
            out_features,
            in_features,
            max_part_bytes: gpu.max_binding_bytes(),
            size_bytes: 0,
            format: None,
            extent: Extent::default(),
            parts: Vec::new(),
            rows: 0,
            per_row: false,
            sequential: Vec::new(),
        }
    }

    /// Cuts the stack into parts of at most `bytes` of weights or codes, where the device would bind more at once.
    #[must_use]
    pub fn max_part_bytes(mut self, bytes: u64) -> Self {
        self.max_part_bytes = bytes.min(self.gpu.max_binding_bytes());
        self
    }

    /// Numbers the matrices from `first` on: a rank's experts keep the numbers that the router knows.
    #[must_use]
    pub fn first_matrix(mut self, first: usize) -> Self {
        self.first_matrix = first;
        self
    }

    /// Uploads `matrix` as rows `first_row..` of matrix number `index`.
    ///
    /// # Errors
    /// [`Error::Memory`] where it does not fit; [`Error::Model`] where it differs in format from the others of the stack, and for
    /// a format that no kernel multiplies by.
    pub fn add(&mut self, index: usize, first_row: usize, matrix: &Matrix) -> Result<()> {
        assert_eq!(matrix.in_features(), self.in_features, "{}: columns", self.label);
        assert!(index < self.n_matrices && first_row + matrix.out_features() <= self.out_features, "{}", self.label);
        let (format, extent) = (matrix.format(), Extent::of(matrix));
        match self.format {
            None => {
                (self.format, self.extent) = (Some(format), extent);
                self.allocate(&format)?;
            }
            Some(first) => {
                let both = first.stacked(&format).filter(|both| self.extent.holds(both, &extent));
                let both = both.ok_or_else(|| {
                    let found = extent.describe(&format, self.in_features);
                    let first = self.extent.describe(&first, self.in_features);
                    let place = Place::Stacked { stack: self.label.clone(), number: index };
                    let fault = Fault::new(place).found(found);
                    Error::from(fault.expected(format!("{first} as of the first of the stack")))
                })?;
                (self.format, self.extent) = (Some(both), self.extent.of_format(&both));
            }
        }
        self.rows += matrix.out_features();
        match matrix {
            Matrix::Dense(_) => {}
            Matrix::Packed(m) => self.prepare(index, m)?,
            Matrix::RowShard(m) => self.prepare(index, m)?,
        }
        write(&self.parts, &mut self.gpu, Spot { matrix: index, row: first_row }, matrix)
    }

    /// Makes room for what only some matrices of a stack have.
    fn prepare<G: Groups>(&mut self, index: usize, m: &PackedMatrix<G>) -> Result<()> {
        if m.zeros.is_some() && self.parts[0].zeros.is_none() {
            self.allocate_zeros(m.groups, m.format.bits)?;
            for zeros in self.parts.iter().flat_map(|part| &part.zeros) {
                let words = vec![PackedMatrix::symmetric_zeros(m.format.bits); zeros.size() as usize / 4];
                self.gpu.write(zeros, 0, &words)?;
            }
        }
        if m.format.order == Order::PerRow && !self.per_row {
            self.allocate_tables()?;
            for (earlier, group_index) in std::mem::take(&mut self.sequential) {
                let table = table(&group_index, m.format.group, self.in_features);
                write_table(&self.parts, &mut self.gpu, earlier, &table)?;
            }
        }
        if !self.per_row {
            let (first, group_index) = (m.group_index.offset(), m.group_index.index().clone());
            let groups = ShardGroups { first_row: first.row, first_group: first.group, index: group_index };
            self.sequential.push((index, groups));
        }
        Ok(())
    }

    /// Takes all memory for matrices of `format` at once, of which they store `extent`; [`Weights::write`] fills it, in any order.
    ///
    /// # Errors
    /// [`Error::Memory`] where it does not fit; [`Error::Model`] for a format that no kernel multiplies by.
    pub(crate) fn reserve(mut self, format: Format, extent: Extent) -> Result<Weights> {
        (self.format, self.extent) = (Some(format), extent.of_format(&format));
        self.allocate(&format)?;
        if let Format::Grouped(grouped) = format {
            if grouped.shift == Shift::Zero {
                self.allocate_zeros(self.extent.groups, grouped.bits)?;
            }
            if grouped.order == Order::PerRow {
                self.allocate_tables()?;
            }
        }
        self.rows = self.n_matrices * self.out_features;
        self.finish()
    }

    /// All matrices are there.
    ///
    /// # Errors
    /// [`Error::Run`] where the device has failed meanwhile.
    pub fn finish(self) -> Result<Weights> {
        assert_eq!(self.rows, self.n_matrices * self.out_features, "{}: rows that were uploaded", self.label);
        self.gpu.check()?;
        Ok(Weights {
            n_matrices: self.n_matrices,
            first_matrix: self.first_matrix,
            out_features: self.out_features,
            in_features: self.in_features,
            format: self.format.expect("a stack has at least one matrix"),
            extent: self.extent,
            parts: self.parts,
            size_bytes: self.size_bytes,
        })
    }

    /// A buffer of the stack.
    fn storage(&mut self, what: &str, bytes: u64) -> Result<wgpu::Buffer> {
        let buffer = self.gpu.storage(&format!("{}{what}", self.label), bytes)?;
        self.size_bytes += Gpu::taken_bytes(bytes);
        Ok(buffer)
    }

    fn allocate(&mut self, format: &Format) -> Result<()> {
        format.check_runs()?;
        let row_bytes = row_words(format, self.in_features) as u64 * 4;
        let limit = self.max_part_bytes;
        let matrix_bytes = row_bytes * self.out_features as u64;
        let per_part = (limit / matrix_bytes) as usize;
        // Whole matrices where one fits; else the only matrix by rows, 64 at a time so that tiles stay whole.
        let rows_per_part = if per_part > 0 { self.out_features } else { (limit / row_bytes) as usize / 64 * 64 };
        if rows_per_part == 0 || (per_part == 0 && self.n_matrices > 1) {
            let device = &self.gpu.adapter().info.name;
            return Err(NoRoom::new(Some(device), &self.label, matrix_bytes, limit, Bound::Matrix).into());
        }
        for first_matrix in (0..self.n_matrices).step_by(per_part.max(1)) {
            for first_row in (0..self.out_features).step_by(rows_per_part) {
                let n_matrices = per_part.max(1).min(self.n_matrices - first_matrix);
                let n_rows = rows_per_part.min(self.out_features - first_row);
                let rows = (n_matrices * n_rows) as u64;
                let scales = match format {
                    Format::Dense(_) => None,
                    Format::Grouped(grouped) => {
                        let words = grouped.scale.words(self.extent.groups) as u64;
                        Some(self.storage(".scales", rows * words * 4)?)
                    }
                };
                let data = self.storage("", rows * row_bytes)?;
                self.parts.push(Part {
                    first_matrix,
                    n_matrices,
                    first_row,
                    n_rows,
                    data,
                    scales,
                    zeros: None,
                    g_idx: None,
                });
            }
        }
        Ok(())
    }

    fn allocate_zeros(&mut self, groups: usize, bits: u32) -> Result<()> {
        for part in 0..self.parts.len() {
            let rows = self.parts[part].n_matrices * self.parts[part].n_rows;
            let words = rows * PackedMatrix::zero_words(groups, bits);
            self.parts[part].zeros = Some(self.storage(".zeros", words as u64 * 4)?);
        }
        Ok(())
    }

    fn allocate_tables(&mut self) -> Result<()> {
        self.per_row = true;
        let table_bytes = self.in_features.next_multiple_of(CHUNK) as u64 * 4;
        for part in 0..self.parts.len() {
            let bytes = self.parts[part].n_matrices as u64 * table_bytes;
            self.parts[part].g_idx = Some(self.storage(".g_idx", bytes)?);
        }
        Ok(())
    }
}

impl Weights {
    /// Uploads one matrix.
    ///
    /// # Errors
    /// [`crate::Error::Usage`] where the matrix's arrays are not as long as its shape says; [`crate::Error::Model`] for a format
    /// that no kernel multiplies by; [`crate::Error::Memory`] where it does not fit.
    pub fn upload(gpu: &Gpu, label: &str, matrix: &Matrix) -> Result<Self> {
        matrix.check_shape(label)?;
        let mut builder = WeightsBuilder::new(gpu, label, 1, matrix.out_features(), matrix.in_features());
        builder.add(0, 0, matrix)?;
        builder.finish()
    }

    /// Makes a stack `[matrices, out_features, in_features]` of random weights where it lies, in parts of at most
    /// `max_part_bytes`: no host memory, no upload. Inputs of order 1 give outputs of order 1. The same label, shape and
    /// format give the same weights on every device.
    ///
    /// # Errors
    /// [`crate::Error::Usage`] for a shape of nothing and for a format with zero points or a table of groups;
    /// [`crate::Error::Memory`] where it does not fit.
    pub fn random(
        planner: &Planner,
        label: &str,
        shape: [usize; 3],
        format: Format,
        max_part_bytes: u64,
    ) -> Result<Self> {
        format.check_shape(label, shape)?;
        if let Some(grouped) = format.grouped() {
            let is_plain = *grouped == Grouped::symmetric(grouped.bits, grouped.group, grouped.scale);
            Error::check_shape(
                label,
                "format",
                is_plain,
                &format.describe(shape[2]),
                &"a symmetric one, without g_idx",
            )?;
        }
        let [n_matrices, out_features, in_features] = shape;
        let mut builder = WeightsBuilder::new(planner.gpu, label, n_matrices, out_features, in_features)
            .max_part_bytes(max_part_bytes);
        (builder.format, builder.extent) = (Some(format), Extent::whole(&format, in_features));
        builder.allocate(&format)?;
        builder.rows = n_matrices * out_features;
        if planner.gpu.rehearses() {
            return builder.finish();
        }
        let RandomBits { data, scales } = RandomBits::of(&format, in_features);
        let mut seed = label.bytes().fold(0u32, |hash, byte| hash.wrapping_mul(0x0100_0193) ^ u32::from(byte));
        let mut fills = Vec::new();
        for part in &builder.parts {
            for (buffer, bits) in [(Some(&part.data), data), (part.scales.as_ref(), scales)] {
                if let Some(buffer) = buffer {
                    fills.push(fill_random::plan(planner, "fill_random", buffer, seed, bits)?);
                    seed = seed.wrapping_add((buffer.size() / 4) as u32);
                }
            }
        }
        let mut recorder = Recorder::new(planner.gpu);
        for dispatch in planner.bind_all(&fills)? {
            recorder.dispatch(&dispatch, 1);
        }
        recorder.submit();
        builder.finish()
    }

    /// Writes `matrix` as the rows of the stack from `spot` on.
    ///
    /// # Errors
    /// [`Error::Model`] where the matrix is not of the format that memory was taken for; [`Error::Run`] where the device has
    /// failed.
    pub(crate) fn write(&self, to: &mut impl Upload, spot: Spot, matrix: &Matrix) -> Result<()> {
        assert_eq!(matrix.in_features(), self.in_features, "columns");
        assert!(spot.matrix < self.n_matrices && spot.row + matrix.out_features() <= self.out_features, "rows");
        let (format, extent) = (matrix.format(), Extent::of(matrix));
        let is_expected = self.format.stacked(&format) == Some(self.format) && self.extent.holds(&self.format, &extent);
        if !is_expected {
            let found = extent.describe(&format, self.in_features);
            let expected = self.extent.describe(&self.format, self.in_features);
            let fault = Fault::checkpoint().found(format!("holds weights in {found}"));
            return Err(fault.expected(format!("{expected} as when it was verified")).into());
        }
        write(&self.parts, to, spot, matrix)
    }
}

/// Writes all that `parts` hold of the rows from `spot` on.
fn write(parts: &[Part], to: &mut impl Upload, spot: Spot, matrix: &Matrix) -> Result<()> {
    match matrix {
        Matrix::Dense(m) => write_rows(parts, to, |part| Some(&part.data), spot, m.out_features, &m.words),
        Matrix::Packed(m) => write_packed(parts, to, spot, m),
        Matrix::RowShard(m) => write_packed(parts, to, spot, m),
    }
}

fn write_packed<G: Groups>(parts: &[Part], to: &mut impl Upload, spot: Spot, m: &PackedMatrix<G>) -> Result<()> {
    m.check();
    let (rows, bits) = (m.out_features, m.format.bits);
    write_rows(parts, to, |part| Some(&part.data), spot, rows, &m.codes)?;
    write_rows(parts, to, |part| part.scales.as_ref(), spot, rows, &m.scales)?;
    if parts[0].zeros.is_some() {
        let symmetric = || vec![PackedMatrix::symmetric_zeros(bits); rows * PackedMatrix::zero_words(m.groups, bits)];
        let zeros = m.zeros.as_ref().map_or_else(|| Cow::Owned(symmetric()), Cow::Borrowed);
        write_rows(parts, to, |part| part.zeros.as_ref(), spot, rows, &zeros)?;
    }
    if parts[0].g_idx.is_some() {
        write_table(parts, to, spot.matrix, &table(&m.group_index, m.format.group, m.in_features))?;
    }
    Ok(())
}

/// Writes `rows` rows of `words` into the parts that hold them.
fn write_rows(
    parts: &[Part],
    to: &mut impl Upload,
    buffer: impl Fn(&Part) -> Option<&wgpu::Buffer>,
    spot: Spot,
    rows: usize,
    words: &[u32],
) -> Result<()> {
    let (Spot { matrix: index, row: first_row }, row_words) = (spot, words.len() / rows);
    for part in parts.iter().filter(|part| part.holds(index)) {
        let from = first_row.max(part.first_row);
        let end = (first_row + rows).min(part.first_row + part.n_rows);
        if from >= end {
            continue;
        }
        let at = ((index - part.first_matrix) * part.n_rows + from - part.first_row) * row_words;
        let piece = &words[(from - first_row) * row_words..(end - first_row) * row_words];
        to.upload(buffer(part).expect("all parts have the same buffers"), at as u64 * 4, piece)?;
    }
    Ok(())
}

/// Writes the group indices of matrix `index`.
fn write_table(parts: &[Part], to: &mut impl Upload, index: usize, table: &[u32]) -> Result<()> {
    for part in parts.iter().filter(|part| part.holds(index)) {
        let at = (index - part.first_matrix) * table.len();
        to.upload(part.g_idx.as_ref().expect("all parts have one"), at as u64 * 4, table)?;
    }
    Ok(())
}

/// The group of each input row, padded to whole chunks.
fn table<G: Groups>(group_index: &G, size: usize, in_features: usize) -> Vec<u32> {
    let mut table: Vec<u32> = (0..in_features).map(|k| crate::kernels::word(group_index.group(k, size))).collect();
    table.resize(in_features.next_multiple_of(CHUNK), 0);
    table
}

impl Part {
    fn holds(&self, index: usize) -> bool {
        (self.first_matrix..self.first_matrix + self.n_matrices).contains(&index)
    }
}
