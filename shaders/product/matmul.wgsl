// needs tile: TILE_T, Tile
// needs tiles: main
// gives var: row_count, y
// gives fn: tile_at, x_row, y_row

// y[t, n] = sum_k x[t, k] * w[n, k], many rows of x at a time: prefill. common/plain_tile.wgsl and its likes make the tiles.

@group(0) @binding(6) var<storage, read> row_count: array<u32>;     // [0]: rows of x
@group(0) @binding(7) var<storage, read_write> y: array<f32>;       // [rows, y_stride]

fn tile_at(y: u32) -> Tile {
    let first = y * TILE_T;
    let count = row_count[0];
    return Tile(0u, first, count - min(first, count));
}

fn x_row(tile: Tile, t: u32) -> u32 {
    return tile.first + t;
}

fn y_row(tile: Tile, t: u32) -> u32 {
    return tile.first + t;
}
