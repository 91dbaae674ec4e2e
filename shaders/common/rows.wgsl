// part: rows
// gives struct: Row

// One row of a step: a token at a position of a slot. Rows of a slot stand together, by ascending position.
struct Row {
    token: u32,          // an id, or ID_OF
    slot: u32,
    position: u32,
    first: u32,          // the step's first row of this slot
    first_position: u32, // that row's position
    last_position: u32,  // position of the step's last row of this slot
    pad0: u32,
    pad1: u32,
}
