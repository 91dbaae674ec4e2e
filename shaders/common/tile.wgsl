// part: tile
// needs product: capped, params
// needs around: y
// gives override: TILE_T, CHUNKS
// gives struct: Tile
// gives fn: w_row, write

// What the products of many rows share: a workgroup makes TILE_T rows and a number of output features. The shader behind
// says which rows these are: fn tile_at(y), fn x_row(tile, t), fn y_row(tile, t).

override TILE_T: u32 = 64;     // rows of a tile
override CHUNKS: u32 = 1;      // padded in_features / 32: a constant, so that compilers know the loop

// Up to TILE_T rows that are multiplied with one matrix; without rows there is nothing to do. A count beyond TILE_T says
// that more follow.
struct Tile {
    matrix: u32, // of this part
    first: u32,
    count: u32,
}

// Features beyond the last repeat it; they are not written.
fn w_row(tile: Tile, n: u32) -> u32 {
    return tile.matrix * params.n_rows + min(n, params.n_rows - 1u);
}

fn write(at: u32, n: u32, value: f32) {
    if n < params.n_rows {
        y[at + n] = capped(value);
    }
}
