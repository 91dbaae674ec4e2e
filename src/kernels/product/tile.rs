//! Shapes of workgroups that multiply many rows.

use crate::gpu::Constants;
use crate::quant::CHUNK;

use crate::kernels::word;

/// A tile in f32; `shaders/common/plain_tile.wgsl`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tile {
    /// Lanes along the rows.
    pub lanes_t: u32,
    /// Lanes along the output features: a multiple of 8.
    pub lanes_n: u32,
    /// Rows of a lane: 4 or 8.
    pub rows: u32,
    /// Output features of a lane: 4, or 8, as without `k_step`.
    pub features: u32,
    /// Input features that go through workgroup memory at a time: 8, 16 or 32; `None` where each lane reads for itself.
    pub k_step: Option<u32>,
    /// Whether a lane reads the next ones meanwhile, where it has no more than four reads of either operand.
    pub ahead: bool,
}

/// Reads of an operand for which a lane has room while it multiplies what it has read before: `Held` of the shaders.
const MOST_AHEAD: u32 = 4;

impl Tile {
    /// Rows of a workgroup.
    pub fn height(self) -> u32 {
        self.lanes_t * self.rows
    }

    /// Output features of a workgroup.
    pub fn width(self) -> u32 {
        self.lanes_n * self.features
    }

    /// As wide, with `rows` rows, where what multiplies the rest has tiles of so many: a multiple of 8.
    pub(crate) fn with_height(self, rows: u32) -> Self {
        if self.height() == rows {
            return self;
        }
        // Where there are registers for it, a lane takes more rows. At most 128 lanes, which fit the least workgroup memory
        // that devices have, or as many as make 8 features wide.
        let lane_rows = if self.ahead || self.k_step.is_none() { 8 } else { self.rows };
        let lanes_t = rows / lane_rows;
        Tile { lanes_t, lanes_n: self.lanes_n.min(128 / lanes_t).max(8), rows: lane_rows, ..self }
    }

    /// Shares of the input features that are added up apart, so that about `workgroups` are busy with `tiles` tiles; each
    /// has 4 chunks at least.
    pub(crate) fn shares(self, workgroups: usize, tiles: usize, in_features: usize) -> usize {
        let (wanted, chunks) = (workgroups / tiles.max(1), in_features.div_ceil(CHUNK));
        if self.k_step.is_none() || wanted < 4 || chunks < 8 {
            return 1;
        }
        // None is empty.
        chunks.div_ceil(chunks.div_ceil(wanted.min(chunks / 4)))
    }

    pub(crate) fn constants(self, in_features: usize) -> Constants {
        // A shader's array has a place at least.
        let quads = |rows: u32| self.k_step.map_or(1, |step| rows * step / 4);
        let lanes = self.lanes_t * self.lanes_n;
        let reads = quads(self.height()).max(quads(self.width()) / 2).div_ceil(lanes);
        vec![
            ("TILE_T", self.height()),
            ("LANES_T", self.lanes_t),
            ("LANES_N", self.lanes_n),
            ("ROWS", self.rows),
            ("FEATURES", self.features),
            ("AHEAD", u32::from(self.ahead && reads <= MOST_AHEAD)),
            // Some constant that the shader can divide by, though it does not run what does.
            ("K_STEP", self.k_step.unwrap_or(16)),
            ("QUADS_X", quads(self.height())),
            ("QUADS_W", quads(self.width())),
            ("DIRECT", u32::from(self.k_step.is_none())),
            // Pipelines take long to compile for a CPU, which gains nothing by a constant.
            ("CHUNKS", if self.k_step.is_none() { 1 } else { word(in_features.div_ceil(CHUNK)) }),
        ]
    }
}

/// A tile of products of 8-bit integers; `shaders/common/dot_tile.wgsl`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DotTile {
    /// Lanes along the rows.
    pub lanes_t: u32,
    /// Lanes along the output features: a multiple of 8.
    pub lanes_n: u32,
    /// Rows of a lane: 4 or 8.
    pub rows: u32,
    /// Output features of a lane: 4 or 8.
    pub features: u32,
    /// Input features that go through workgroup memory at a time: 32 or 64.
    pub k_step: u32,
    /// As that of [`Tile`].
    pub ahead: bool,
    /// Whether a lane holds a word of each operand at a time, in a loop, with 4 rows and 4 features.
    pub rolled: bool,
}

impl DotTile {
    /// Rows of a workgroup.
    pub fn height(self) -> u32 {
        self.lanes_t * self.rows
    }

    /// Output features of a workgroup.
    pub fn width(self) -> u32 {
        self.lanes_n * self.features
    }

    /// Bytes of workgroup memory.
    pub fn workgroup_bytes(self) -> u32 {
        (self.height() + self.width()) * (self.k_step + self.k_step / 8)
    }

    pub(crate) fn constants(self, in_features: usize) -> Constants {
        let chunks = word(in_features.div_ceil(CHUNK));
        // Steps are whole.
        let fits = (chunks * CHUNK as u32).is_multiple_of(self.k_step);
        let k_step = if fits { self.k_step } else { CHUNK as u32 };
        let lanes = self.lanes_t * self.lanes_n;
        let reads = (self.height() * k_step / 16).max(self.width() * k_step / 32).div_ceil(lanes);
        vec![
            ("TILE_T", self.height()),
            ("LANES_T", self.lanes_t),
            ("LANES_N", self.lanes_n),
            ("ROWS", self.rows),
            ("FEATURES", self.features),
            ("AHEAD", u32::from(self.ahead && reads <= MOST_AHEAD)),
            ("ROLLED", u32::from(self.rolled)),
            ("K_STEP", k_step),
            ("QUADS_X", self.height() * k_step / 16),
            ("QUADS_W", self.width() * k_step / 16),
            ("SCALES_X", self.height() * k_step / 32),
            ("SCALES_W", self.width() * k_step / 32),
            ("CHUNKS", chunks),
        ]
    }
}

/// A tile of cooperative matrices; `shaders/common/matrix_tile.wgsl`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MatrixTile {
    /// Blocks of two matrices along the rows: a subgroup each.
    pub blocks_t: u32,
    /// Blocks along the output features.
    pub blocks_n: u32,
    /// Matrices of a block along the output features: 2 or 4.
    pub across: u32,
    /// Input features that go through workgroup memory at a time: 32 or 64.
    pub k_step: u32,
    /// Whether the next ones are read meanwhile.
    pub ahead: bool,
}

impl MatrixTile {
    /// Rows of a workgroup, for matrices of `side` rows.
    pub fn height(self, side: u32) -> u32 {
        self.blocks_t * 2 * side
    }

    /// Output features of a workgroup.
    pub fn width(self, side: u32) -> u32 {
        self.blocks_n * self.across * side
    }

    /// Bytes of workgroup memory.
    pub fn workgroup_bytes(self, side: u32) -> u32 {
        let rows = self.height(side) + self.width(side);
        rows * (self.k_step + 8) * 2 + self.height(side) * 4 + self.blocks_t * self.blocks_n * side * side * 4
    }

    /// With shorter steps where the tile would take more than `bytes` of workgroup memory.
    pub(crate) fn within(self, side: u32, bytes: u32) -> Self {
        if self.workgroup_bytes(side) <= bytes { self } else { MatrixTile { k_step: CHUNK as u32, ..self } }
    }

    /// The constants for matrices of `side` rows and subgroups of up to `subgroup` lanes.
    pub(crate) fn constants(self, side: u32, subgroup: u32, in_features: usize) -> Constants {
        let chunks = word(in_features.div_ceil(CHUNK));
        let values_a_cell = if side == 16 { 4 } else { 1 };
        let blocks = self.blocks_t * self.blocks_n;
        // Steps are whole, and what a lane reads fits the shader's MAX_X and MAX_W.
        let lane_x = (self.height(side) * self.k_step / 4).div_ceil(blocks * subgroup);
        let lane_w = (self.width(side) * self.k_step / 32).div_ceil(blocks * subgroup);
        let fits = (chunks * CHUNK as u32).is_multiple_of(self.k_step) && lane_x <= 16 && lane_w <= 4;
        let k_step = if fits { self.k_step } else { CHUNK as u32 };
        vec![
            ("TILE_T", self.height(side)),
            ("BLOCKS_T", self.blocks_t),
            ("BLOCKS_N", self.blocks_n),
            ("ACROSS", self.across),
            ("MATRIX_LANES", blocks * subgroup),
            ("K_STEP", k_step),
            ("AHEAD", u32::from(self.ahead)),
            ("CELLS_X", self.height(side) * (k_step + 8) / values_a_cell),
            ("CELLS_W", self.width(side) * (k_step + 8) / values_a_cell),
            ("RESULTS", blocks * side * side),
            ("CHUNKS", chunks),
        ]
    }
}
