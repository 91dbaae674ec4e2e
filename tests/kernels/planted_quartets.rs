//! Bugs planted in what rounds, adds up and looks at rows by itself, and in exact products: each is seen.

use super::planted::{bug, sees};
use super::product::Path;
use super::{
    attention_join, attention_tile, f16_by_row, int8_by_16, int8_by_32, matmul, matmul_grouped, matvec, moe_sum,
    not_finite, sum_shares,
};

#[test]
fn bugs_of_rounded_rows_are_caught() {
    let all = || {
        int8_by_32::check_grid();
        int8_by_32::check_one_hot();
        int8_by_32::check_no_numbers();
    };
    all();
    sees(bug("int8 rows always in order", "if INTERLEAVED {", "if false {"), all);
    sees(bug("int8 rows never in order", "if INTERLEAVED {", "if true {"), all);
    sees(
        bug(
            "int8 rows: halves are cut off",
            "vec4<i32>(round(x[start + i] * inverse))",
            "vec4<i32>(x[start + i] * inverse)",
        ),
        int8_by_32::check_grid,
    );
    sees(bug("int8 rows: 128 steps", "select(127.0 / largest", "select(128.0 / largest"), all);
    sees(bug("int8 rows: a scale of 128", "bitcast<u32>(largest / 127.0)", "bitcast<u32>(largest / 128.0)"), all);
    sees(
        bug(
            "int8 rows: signs count",
            "bitcast<vec4<u32>>(x[start + i]) & vec4(0x7fffffffu)",
            "bitcast<vec4<u32>>(max(x[start + i], vec4(0.0)))",
        ),
        all,
    );
    sees(bug("int8 rows: last quad not looked at", "i < 8u; i++", "i < 7u; i++"), all);
    sees(
        bug("int8 rows: scales without padding", "(params.blocks + 3u) / 4u * 4u", "params.blocks"),
        int8_by_32::check_grid,
    );
    sees(bug("int8 rows: last block", "if block >= params.blocks", "if block + 1u >= params.blocks"), all);
    sees(
        bug("int8 rows: first workgroup only", "let block = group.x * 64u + lane;", "let block = lane;"),
        int8_by_32::check_grid,
    );
    sees(
        bug(
            "int8 rows: a NaN is no largest",
            "most = max(most, bitcast<vec4<u32>>(x[start + i]) & vec4(0x7fffffffu));",
            "most = bitcast<vec4<u32>>(max(bitcast<vec4<f32>>(most), select(abs(x[start + i]), vec4(0.0), x[start + i] != x[start + i])));",
        ),
        int8_by_32::check_no_numbers,
    );
}

#[test]
fn bugs_of_rounded_blocks_are_caught() {
    let all = || {
        int8_by_16::check_grid();
        int8_by_16::check_one_hot();
    };
    all();
    sees(bug("blocks: last one", "if id.x >= params.blocks", "if id.x + 1u >= params.blocks"), all);
    sees(
        bug("blocks: rows overlap", "let to = 3u * id.y * params.chunks", "let to = 2u * id.y * params.chunks"),
        int8_by_16::check_grid,
    );
    sees(
        bug(
            "blocks: both in the first plane",
            "rounded[to + id.x % 2u * params.chunks] = r.codes;",
            "rounded[to] = r.codes;",
        ),
        all,
    );
    sees(bug("blocks: one scale for both", "[id.x % 2u] = bitcast<u32>(r.scale)", "[0] = bitcast<u32>(r.scale)"), all);
    sees(
        bug(
            "blocks: sum beside the other's scale",
            "[2u + id.x % 2u] = bitcast<u32>(r.sum)",
            "[3u - id.x % 2u] = bitcast<u32>(r.sum)",
        ),
        all,
    );
    sees(bug("blocks: sums of codes alone", "step.x * f32(all.x", "f32(all.x"), int8_by_16::check_grid);
    sees(bug("blocks: second half in order", "pack4xI8(vec4(ic.xz, id.xz))", "pack4xI8(ic)"), all);
}

#[test]
fn bugs_of_rows_in_f16_are_caught() {
    let all = || {
        f16_by_row::check_exact();
        f16_by_row::check_ends();
    };
    all();
    sees(
        bug(
            "f16 rows: factors of the next power",
            "bitcast<f32>((exponent - 13u) << 23u)",
            "bitcast<f32>((exponent - 12u) << 23u)",
        ),
        all,
    );
    sees(
        bug(
            "f16 rows: a range too high",
            "bitcast<f32>((267u - exponent) << 23u)",
            "bitcast<f32>((268u - exponent) << 23u)",
        ),
        all,
    );
    sees(
        bug(
            "f16 rows: last quads not looked at",
            "i < params.quads; i += THREADS) {\n        most",
            "i + 1u < params.quads; i += THREADS) {\n        most",
        ),
        all,
    );
    sees(
        bug(
            "f16 rows: last quads not written",
            "i < params.quads; i += THREADS) {\n        rounded",
            "i + 1u < params.quads; i += THREADS) {\n        rounded",
        ),
        all,
    );
    sees(bug("f16 rows: half of the lanes", "var half = THREADS / 2u;", "var half = THREADS / 4u;"), all);
    sees(
        bug(
            "f16 rows: third of four values",
            "max(max(most.x, most.y), max(most.z, most.w))",
            "max(max(most.x, most.y), max(most.w, most.w))",
        ),
        all,
    );
    sees(
        bug(
            "f16 rows: signs count",
            "bitcast<vec4<u32>>(x[row + i]) & vec4(0x7fffffffu)",
            "bitcast<vec4<u32>>(max(x[row + i], vec4(0.0)))",
        ),
        all,
    );
    sees(
        bug(
            "f16 rows: no smallest factor",
            "clamp(largest[0] >> 23u, 14u, 254u)",
            "clamp(largest[0] >> 23u, 15u, 254u)",
        ),
        all,
    );
}

#[test]
fn bugs_of_shares_are_caught() {
    let sums = sum_shares::check_whole_numbers;
    sums();
    sees(bug("shares: last one", "s < SHARES; s++", "s + 1u < SHARES; s++"), sums);
    sees(bug("shares: of the rows that count", "(s * params.rows + t)", "(s * row_count[0] + t)"), sums);
    sees(bug("shares: always the first column", "params.y_offset + n", "n"), sums);
    sees(bug("shares: all rows", "t >= row_count[0]", "t >= max(row_count[0], params.rows)"), sums);
    sees(bug("shares: columns behind the last", "n >= params.width ||", ""), sums);
    sees(bug("shares: rows without padding", "t * params.y_stride", "t * params.width"), sums);
    let joins = attention_join::check_some;
    joins();
    sees(bug("join: shares behind the last count", "vec4(n_shares)", "vec4(0xffffffffu)"), joins);
    sees(bug("join: fourth share of a lane", "+ w.w * v3", ""), joins);
    sees(bug("join: totals are not scaled", "total = total * rescale +", "total = total +"), joins);
    sees(bug("join: sums are not scaled", "sum = sum * rescale +", "sum = sum +"), joins);
    sees(bug("join: every row the first's shares", "first_share(group.y, groups.y) * stride", "0u"), joins);
    sees(
        bug(
            "join: last lanes",
            "i < THREADS; i += COLUMNS) {\n            let factor",
            "i + COLUMNS < THREADS; i += COLUMNS) {\n            let factor",
        ),
        joins,
    );
    sees(bug("join: every head's shares are the first's", "+ head * (d4 + 1u);", ";"), joins);
    sees(bug("join: no window", "position + 1u - first_visible(position, params.window)", "position + 1u"), joins);
}

#[test]
fn bugs_of_words_that_are_no_numbers_are_caught() {
    let edges = not_finite::check_edges;
    let kinds = not_finite::check_kinds;
    edges();
    kinds();
    sees(bug("no number: last word", "i < params.n_words &&", "i + 1u < params.n_words &&"), edges);
    sees(bug("no number: first workgroup only", "+ group.x) * LANES", ") * LANES"), edges);
    sees(bug("no number: first flag", "flags[params.number]", "flags[0]"), edges);
    sees(bug("no number: infinity alone", "(words[i] & 0x7f800000u) ==", "(words[i] & 0x7fffffffu) =="), kinds);
    sees(bug("no number: signs count", "(words[i] & 0x7f800000u) ==", "(words[i] & 0xff800000u) =="), kinds);
    sees(bug("no number: large ones are none", "== 0x7f800000u", ">= 0x7f000000u"), kinds);
    sees(bug("no number: no second layer", "group.z * groups.x +", ""), not_finite::check_large);
}

#[test]
fn bugs_of_exact_products_are_caught() {
    for path in matmul::PATHS {
        let products = || matmul::check_whole(&[path], &matmul::FEW);
        products();
        sees(
            bug(
                "many rows: x of the tile's first row",
                "fn x_row(tile: Tile, t: u32) -> u32 {\n    return tile.first + t;",
                "fn x_row(tile: Tile, t: u32) -> u32 {\n    return tile.first + 0u * t;",
            ),
            products,
        );
    }
    let counts = matmul::check_counts;
    counts();
    sees(bug("many rows: tiles beyond the count", "count - min(first, count)", "TILE_T"), counts);
    let grouped = || matmul_grouped::check_whole(&[(33, 41, 33, 3)]);
    grouped();
    sees(bug("grouped: other ranks' experts", "tile.z, matrix < params.n_matrices", "tile.z, true"), grouped);
    sees(
        bug("grouped: every pair its own row", "pairs[tile.first + t] / X_REPEAT", "pairs[tile.first + t] / 1u"),
        grouped,
    );
    let rows = || matvec::check_whole(&[(7, 9), (65, 41)]);
    rows();
    sees(
        bug(
            "one row: last feature",
            "return min(n + r, params.n_rows - 1u);",
            "return min(n + r, max(params.n_rows, 2u) - 2u);",
        ),
        rows,
    );
    // One path sees what it alone runs.
    sees(bug("few features: last share", "s < SHARES; s++", "s + 1u < SHARES; s++"), || {
        matmul::check_whole(&[Path::Shares], &[(64, 65, 704)])
    });
}

#[test]
fn bugs_of_positions_and_slots_are_caught() {
    let tiles = attention_tile::check_some;
    tiles();
    sees(
        bug(
            "probes: newest position",
            "vec2(first_visible(position, params.window), position + 1u)",
            "vec2(first_visible(position, params.window), position)",
        ),
        tiles,
    );
    sees(
        bug(
            "probes: own rows",
            "let own = row.first + p - row.first_position;",
            "let own = row.first + max(p, 1u) - 1u - row.first_position;",
        ),
        tiles,
    );
    sees(bug("probes: rows that do not count", "t < tile.end_row && line", "line"), attention_tile::check_counts);
    let sums = moe_sum::check_some;
    sums();
    sees(bug("experts: last slot", "s < TOP_K; s++", "s + 1u < TOP_K; s++"), sums);
    sees(
        bug(
            "experts: those of others too",
            "ids[slot] - params.first_expert < params.n_experts",
            "ids[slot] - params.first_expert < 0xffffffffu",
        ),
        sums,
    );
    sees(
        bug("experts: weight of the first slot", "weights[slot] * products", "weights[group.y * TOP_K] * products"),
        sums,
    );
    sees(bug("experts: columns behind the last", "if i >= params.width", "if i >= params.stride"), sums);
}
