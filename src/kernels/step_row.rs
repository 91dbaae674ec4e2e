//! The rows of a step, as shaders see them.

/// One row of a step as the shaders see it; `shaders/common/rows.wgsl`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct StepRow {
    /// Token id, or [`StepRow::ID_OF`].
    pub token: u32,
    /// The sequence's place in the KV cache.
    pub slot: u32,
    /// Position in the sequence, from 0.
    pub position: u32,
    /// The step's first row of this slot.
    pub first: u32,
    /// That row's position.
    pub first_position: u32,
    /// The position of the step's last row of this slot.
    pub last_position: u32,
    /// Unused: keeps rows at 32 bytes.
    pub pad: [u32; 2],
}

impl StepRow {
    /// Flag of a token that is not known yet: the other bits are the row of the step before whose chosen id it is. `ID_OF` of the
    /// shader.
    pub const ID_OF: u32 = 1 << 31;
}

/// Name and byte offset of each field of [`StepRow`].
pub const STEP_ROW_FIELDS: &[(&str, usize)] = &[
    ("token", std::mem::offset_of!(StepRow, token)),
    ("slot", std::mem::offset_of!(StepRow, slot)),
    ("position", std::mem::offset_of!(StepRow, position)),
    ("first", std::mem::offset_of!(StepRow, first)),
    ("first_position", std::mem::offset_of!(StepRow, first_position)),
    ("last_position", std::mem::offset_of!(StepRow, last_position)),
];
