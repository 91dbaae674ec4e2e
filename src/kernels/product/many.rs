//! What `matmul` and `matmul_grouped` share: products of many rows in tiles, whose rows share each weight they read. What makes the
//! tiles depends on the planner's tier and on the weights: f32 arithmetic, products of 8-bit integers, or cooperative matrices.

use super::operands::{Setup, Target};
use super::tile_size::{Size, can_round, dot_bits};
use super::weights::Part;
use crate::Result;
use crate::gpu::{Constants, Grid, PipelineKey, Tensor, Tier};
use crate::kernels::rounding::f16_by_row::{self, F16Rows};
use crate::kernels::rounding::int8_by_32;
use crate::kernels::{DotTile, MatrixTile, NamedBuffers, Planned, Planner, Tile, Weights, word};

/// A product of many rows.
pub(super) struct Many<'a> {
    pub label: &'a str,
    /// Of the shader.
    pub stem: &'static str,
    pub weights: &'a Weights,
    pub x: &'a Tensor,
    /// Rows of x that belong to a row of the step.
    pub x_rows: usize,
    pub target: Target<'a>,
    /// What says which rows there are, by the shader's names.
    pub rows: NamedBuffers,
    pub constants: Constants,
    /// Of its workgroups, but for what tiles say.
    pub grid: Grid,
    /// The tiles of steps of some numbers of rows; all use the same arithmetic.
    pub tilings: Vec<Tiling>,
}

/// The tiles that are taken for steps of some numbers of rows, by what makes them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tiling {
    pub size: Size,
    pub plain: Tile,
    pub dot: DotTile,
    pub matrix: MatrixTile,
}

/// What makes the tiles of a product, and what it reads x from.
#[derive(Debug, Clone)]
enum Way {
    Plain,
    Dot { x: Tensor },
    Matrix { x: F16Rows, side: u32 },
}

impl Many<'_> {
    /// Whether f32 arithmetic makes the tiles.
    pub(super) fn is_plain(&self, planner: &Planner) -> bool {
        match planner.matrix_side() {
            Some(_) if can_round(self.weights) => false,
            None if planner.tier >= Tier::Dot => dot_bits(self.weights).is_none(),
            _ => true,
        }
    }

    /// What is done to x first, and one dispatch for each part of the weights and each tiling.
    pub(super) fn plan(&self, planner: &Planner) -> Result<Vec<Planned>> {
        let mut planned = Vec::new();
        let way = self.round(planner, &mut planned)?;
        for tiling in &self.tilings {
            for part in &self.weights.parts {
                planned.push(self.plan_part(planner, &way, tiling, part)?);
            }
        }
        Ok(planned)
    }

    /// Plans the rounding of x, if it is rounded.
    fn round(&self, planner: &Planner, planned: &mut Vec<Planned>) -> Result<Way> {
        let Many { label, x, x_rows, .. } = *self;
        if self.is_plain(planner) {
            return Ok(Way::Plain);
        }
        if let Some(side) = planner.matrix_side() {
            let rounded = planner.f16_rows(x)?;
            planned.push(f16_by_row::plan(planner, &format!("{label}.f16_by_row"), x, x_rows, &rounded)?);
            return Ok(Way::Matrix { x: rounded, side });
        }
        let rounded = planner.int8_rows(x)?;
        let is_interleaved = dot_bits(self.weights) == Some(4);
        let label = format!("{label}.int8_by_32");
        planned.push(int8_by_32::plan(planner, &label, x, x_rows, is_interleaved, &rounded)?);
        Ok(Way::Dot { x: rounded })
    }

    fn plan_part(&self, planner: &Planner, way: &Way, tiling: &Tiling, part: &Part) -> Result<Planned> {
        let Many { label, weights, x, target, .. } = *self;
        let Setup { params, mut constants, mut buffers, variant } = Setup::new(label, weights, part, x, target);
        let in_features = weights.in_features;
        let (variant, height, width) = match way {
            Way::Plain => {
                buffers.push(("x", x.into()));
                constants.extend(tiling.plain.constants(in_features));
                (variant, tiling.plain.height(), tiling.plain.width())
            }
            Way::Dot { x } => {
                buffers.push(("quantized", x.into()));
                constants.extend(tiling.dot.constants(in_features));
                ("packed dot", tiling.dot.height(), tiling.dot.width())
            }
            Way::Matrix { x, side } => {
                let tile = tiling.matrix.within(*side, planner.gpu.limits().max_compute_workgroup_storage_size);
                buffers.extend([("rounded", (&x.values).into()), ("factors", (&x.factors).into())]);
                constants.extend(tile.constants(*side, planner.gpu.subgroup_lanes(), in_features));
                let variant = match (variant, side) {
                    ("packed", 16) => "packed matrix16",
                    ("packed", _) => "packed matrix8",
                    (_, 16) => "dense matrix16",
                    (_, _) => "dense matrix8",
                };
                (variant, tile.height(*side), tile.width(*side))
            }
        };
        buffers.extend(self.rows.iter().cloned());
        constants.extend(self.constants.iter().copied());
        let grid = Grid {
            x: word(part.n_rows.div_ceil(width as usize)),
            rows_per_group: height,
            step_rows: tiling.size.step_rows,
            ..self.grid
        };
        planner.plan(label, PipelineKey { stem: self.stem, variant, constants }, &params, buffers, grid)
    }
}
