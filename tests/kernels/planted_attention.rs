//! Bugs planted in attention, in what comes before it and in the way into the cache: each is seen.

use lapidary::model::KvDtype;
use lapidary::testing::kernels::attention::head_norm_rope::Kv;

use super::head_norm_rope::heads;
use super::planted::{bug, sees};
use super::{attention, attention_matrix, head_norm_rope, kv_store};
use crate::common::not_run::not_run;
use crate::common::random::Random;
use crate::common::{Bug, failure_with, gpu};

/// Steps that bugs of both kinds of attention show in.
fn attention_cases(random: &mut Random) -> Vec<attention::Step> {
    let case = attention::Case::new(4, 2, 64);
    let windowed = attention::Case { window: Some(40), capacity: 48, ..case };
    let deep = [attention::chunk(0, 70, 1), attention::chunk(2, 190, 1)].concat();
    let shard = attention::Case { heads_per_kv: 4, first_head: 3, ..case };
    vec![
        attention::Step::new(random, case, &attention::chunk(1, 70, 3)),
        attention::Step::new(random, windowed, &deep),
        attention::Step::new(random, attention::Case { dtype: KvDtype::F16, ..windowed }, &attention::chunk(1, 52, 3)),
        attention::Step::new(random, shard, &attention::chunk(0, 5, 1)),
    ]
}

#[test]
fn bugs_of_attention_are_caught() {
    let cases = || {
        let mut random = Random::new(510);
        attention_cases(&mut random).iter().for_each(attention::check_extremes);
        // More shares than the lanes that join them take at a time.
        let long = attention::Case { capacity: 1200, ..attention::Case::new(2, 1, 16) };
        attention::check_extremes(&attention::Step::new(&mut random, long, &attention::chunk(0, 1150, 1)));
        let int8 = attention::Case { dtype: KvDtype::Int8, kv: Kv::KeysOnly, ..attention::Case::new(2, 1, 256) };
        attention::check_extremes(&attention::Step::new(&mut random, int8, &attention::chunk(0, 40, 2)));
    };
    cases();
    for bug in [
        bug("window off by one", "max(position + 1u, window) - window", "max(position, window) - window"),
        bug("newest position missing", "var end = row.position + 1u;", "var end = max(row.position, 1u);"),
        bug("ring does not wrap", "ring -= params.capacity;", ""),
        bug("ring wraps once", "first % params.capacity", "first"),
        bug("every slot reads the first", "row.slot * params.capacity * params.kv_stride", "0u"),
        bug("sum is not rescaled", "total = total * rescale + ((", "total = total + (("),
        bug("values are not rescaled", "(*sums).lo0 *= factor.x;", ""),
        bug("values of the second head are not rescaled", "(*sums).hi1 *= factor.y;", ""),
        bug("every head reads the first keys", "+ kv_head * head_quads()", "+ 0u * kv_head"),
        bug("a rank's heads begin a group", "+ in_group - params.first_head", "+ in_group"),
        bug("a share misses its first position", "begin += group.z * share;", "begin += group.z * (share + 1u);"),
        bug("a share takes the next one's first", "min(end, begin + share)", "min(end, begin + share + 1u)"),
        bug("rows write the same shares", "return t * max(SPLITS / n_rows, 1u);", "return 0u;"),
        bug("stripes are not told apart", "room[maxima + stripe] = largest;", "room[maxima] = largest;"),
        bug(
            "a stripe's values beyond the first four",
            "n < count; n += VALUES * stripes",
            "n < count; n += 2u * VALUES * stripes",
        ),
        bug("odd vec4 of queries lost", "dot(room[half + o], k.hi)", "0.0"),
        bug("shares are joined without rescaling", "sum += factor * sums[i];", "sum += sums[i];"),
        bug("their totals without rescaling", "total += factor * totals[i];", "total += totals[i];"),
        bug("later shares without rescaling", "sum = sum * rescale + (", "sum = sum + ("),
        bug(
            "the last share counts again",
            "select(vec4(0.0), exp(four - new_largest), is_share)",
            "exp(four - new_largest)",
        ),
        bug("own keys of the row", "let row = select(t, work.t, is_q);", "let row = work.t;"),
        bug("k with q's norm", "select(0u, 2u * half, h == HEADS) + i", "i"),
        bug("v rotated", "select(params.rotated_pairs, 0u, is_v)", "params.rotated_pairs"),
        bug("keys of the block before", "keys = load_keys(source, next + own, end, lane);", ""),
        bug("values of the block before", "held = load_values(source, next + stripe, end, column);", ""),
        bug("own keys are not read again", "if STORES && end > row.first_position {", "if false {"),
        bug("v normed like q", "let is_v = h == HEADS + 1u;", "let is_v = false;"),
        bug("v begins with k", "select(params.first_v,", "select(params.n_heads,"),
        bug("half the squares", " + dot(unit.b, unit.b);", ";"),
        bug("a head's columns beyond the first", "c < min(half, 8u)", "c < 1u"),
        bug("halves swapped", "half_pair(lo.zw), half_pair(hi.xy)", "half_pair(hi.xy), half_pair(lo.zw)"),
        bug("codes of the first half", "select(packed.a.xy, packed.a.zw, o % 2u == 1u)", "packed.a.xy"),
        bug("the first block's scale", "packed.b[o / 4u % 4u]", "packed.b[0]"),
        // What tables of few registers alone have.
        bug("the first half of an octet", "let word = column % 2u * 2u;", "let word = 0u;"),
        bug("the first quad of an octet", "v_cache[a + column % 2u]", "v_cache[a]"),
        bug("codes of the first quad", "v_cache[a][column % 4u]", "v_cache[a].x"),
        bug("the first block's scale of a column", "[column / 8u % 4u]", ".x"),
        bug("values are not read when they are needed", "held = load_values(source, base + n, end, column);", ""),
        bug("heads that are not read early stay", "turn_unit(unit_in_room(u), load_factors(work, t, u), u);", ""),
        bug("columns of two quads", "+ i / QUADS]", "+ i / 2u]"),
    ] {
        sees(bug, cases);
    }
}

#[test]
fn bugs_of_tiled_attention_are_caught() {
    let cases = || {
        let mut random = Random::new(512);
        attention_cases(&mut random).iter().for_each(attention::check_many);
        let windowed = attention::Case { window: Some(40), capacity: 48, ..attention::Case::new(4, 2, 64) };
        let new_rows = attention::Case { new_rows: true, ..windowed };
        let slots = [attention::chunk(1, 70, 45), attention::chunk(0, 9, 3)].concat();
        attention::check_many(&attention::Step::new(&mut random, new_rows, &slots));
    };
    cases();
    for bug in [
        bug("window off by one here", "max(position + 1u, window) - window", "max(position, window) - window"),
        bug("newest position missing here", "position + 1u);", "position);"),
        bug("ring does not wrap here", "p % params.capacity", "p"),
        bug("every slot reads the first here", "row.slot * params.capacity +", "0u * row.slot +"),
        bug("first new row is stale", "in_cache, cached)", "in_cache, cached || p == row.first_position)"),
        bug("a block mixes cache and new rows", "select(end, min(end, row.first_position)", "select(end, end"),
        bug("keys behind a block's end", "min(end, vec4(block_end))", "end"),
        bug("own rows of the first slot", "let own = row.first + p", "let own = p"),
        bug("sums are not rescaled", "(*s).lo1 *= factor.y;", ""),
        bug("totals are not rescaled", "(*s).total *= factor;", ""),
        bug("every head reads the first keys here", "+ kv_head * head_quads()", "+ 0u * kv_head"),
        bug("a rank's heads begin a group here", "+ in_group - params.first_head", "+ in_group"),
        bug("rows of other slots", "t >= segment && t <= last", "t >= segment"),
        bug("the second slot of a tile", "segment = last + 1u;", "segment = end_row;"),
        bug("later dimensions lost", "step < 2u * head_octets(); step += STEP", "step < STEP; step += STEP"),
        bug("second key of a lane", "+ j * (KEYS + 1u) + lanes]", "+ j * (KEYS + 1u)]"),
        bug("a lane's second four lines", "&more_sums, rescales[four + 1u]", "&more_sums, rescales[four]"),
        bug("all lanes' first four lines", "let four = lines * (LANE_LINES / 4u);", "let four = 0u * lines;"),
        bug("weights of the lines before", "add(&more_sums, stage[w_at + 1u], a);", "add(&more_sums, stage[w_at], a);"),
        bug("values that are not read ahead", "v1 = value(cached, n + 1u, column);", "v1 = v0;"),
        bug(
            "keys of a short block",
            "let n_keys = select(block_end - base, KEYS, AHEAD);\n        for",
            "let n_keys = 1u;\n        for",
        ),
    ] {
        sees(bug, cases);
    }
}

#[test]
fn bugs_of_attention_by_matrices_are_caught() {
    if gpu().matrix_side().is_none() {
        not_run(&format!("\"{}\" has no cooperative matrices", gpu().adapter().info.name));
        return;
    }
    let cases = attention_matrix::check_some;
    cases();
    for bug in [
        bug("by matrices: ring does not wrap", "select(place, place - block.wrap, place >= block.wrap)", "place"),
        bug("by matrices: base does not wrap", "base % params.capacity, params.capacity", "base, params.capacity"),
        bug(
            "by matrices: a block mixes cache and new rows",
            "select(end, min(end, row.first_position)",
            "select(end, end",
        ),
        bug("by matrices: what lies behind the last key", "min(n, block.end - 1u - block.base)", "n"),
        bug("by matrices: own rows of the first slot", "false, row.first, base", "false, 0u, base"),
        bug(
            "by matrices: every head reads the first keys",
            "params.kv_stride + kv_head * head_quads()",
            "params.kv_stride",
        ),
        bug("by matrices: keys behind a block's end", "vec4(min(seen[line].y, block.end))", "vec4(seen[line].y)"),
        bug(
            "by matrices: sums are not rescaled",
            "score_quad(at) * factors[sums_line(i) + at / (SIDE / 4u) % SIDE]",
            "score_quad(at)",
        ),
        bug("by matrices: totals are not rescaled", "state.total * factor", "state.total"),
        bug("by matrices: one plane of scores", "if planes() == 2u {\n        s +=", "if false {\n        s +="),
        bug(
            "by matrices: no total of other lanes",
            "total += score(part_at(lane, part));",
            "total = score(part_at(lane, part));",
        ),
        bug(
            "by matrices: a rank's heads begin a group",
            "% params.heads_per_kv - params.first_head",
            "% params.heads_per_kv",
        ),
        bug("by matrices: rows of other slots", "t >= segment && t <= last", "t >= segment"),
        bug("by matrices: the second slot of a tile", "segment = last + 1u;", "segment = tile.end_row;"),
        bug("by matrices: chunks do not change places", "c0 = c4; c1 = c5; c2 = c6; c3 = c7;", ""),
        bug("by matrices: second half of the keys", "coopLoadT<MatrixX>(&tile_x[x_at + SIDE * x_row], x_row)", "x0"),
        bug("by matrices: fourth square of queries", "coopLoadT<MatrixX>(&q[x_at + 3u * square], SIDE / CELL)", "x2"),
    ] {
        sees(bug, cases);
    }
}

/// Workgroup memory holds anything when a kernel begins: with NaN in it the results are the same.
#[test]
fn workgroup_memory_is_not_read_before_it_is_written() {
    let few = |cases: &[attention::Step]| cases.iter().for_each(attention::check_extremes);
    let many = |cases: &[attention::Step]| cases.iter().for_each(attention::check_many);
    let cases = || attention_cases(&mut Random::new(513));
    let passes = |bug: Bug, check: &dyn Fn()| {
        let failure = failure_with(bug, check);
        assert!(failure.is_none(), "{}: {}", bug.name, failure.unwrap_or_default());
    };
    // NaN of f32 and of f16, in every word; and positions that no ring has.
    passes(
        bug(
            "NaN in attention's memory",
            "    let row = rows[group.y];\n    let parts",
            "    let nan = bitcast<f32>(0x7fc07e00u | lane);\n\
             for (var i = lane; i < ROOM; i += THREADS) { room[i] = vec4(nan); }\n\
             for (var i = lane; i < UNITS; i += THREADS) { squares[i] = nan; columns[i] = nan; }\n\
             for (var i = lane; i < BLOCK; i += THREADS) { score[i] = vec4(nan); }\n\
             workgroupBarrier();\n    let row = rows[group.y];\n    let parts",
        ),
        &|| few(&cases()),
    );
    passes(
        bug(
            "NaN in the tiles' memory",
            "    let octets = head_octets();\n    let column",
            "    let nan = bitcast<f32>(0x7fc07e00u | lane);\n\
             for (var i = lane; i < STAGE; i += THREADS) { stage[i] = vec4(nan); }\n\
             if lane < 16u { maxima[lane] = vec4(nan); rescales[lane] = vec4(nan); }\n\
             if lane < LINES { seen[lane] = vec2(0x7fc07e00u); }\n\
             if lane < KEYS { places[lane] = 0x7fc07e00u; }\n\
             workgroupBarrier();\n    let octets = head_octets();\n    let column",
        ),
        &|| many(&cases()),
    );
    passes(
        bug(
            "NaN in the matrices' memory",
            "    let n_chunks = HEAD_DIM / CHUNK;",
            "    let nan = bitcast<f32>(0x7fc07e00u | lane);\n\
             for (var i = lane; i < CELLS_X * CELL / 4u; i += MATRIX_LANES) { put_x(i, vec4<f16>(vec4(nan))); }\n\
             for (var i = lane; i < CELLS_W * CELL / 4u; i += MATRIX_LANES) { put_w(i, vec4<f16>(vec4(nan))); }\n\
             for (var i = lane; i < CELLS_S * CELL / 4u; i += MATRIX_LANES) { put_score_quad(i, vec4(nan)); }\n\
             for (var i = lane; i < 64u; i += MATRIX_LANES) { factors[i] = nan; seen[i] = vec2(0x7fc07e00u); }\n\
             if lane == 0u { has_grown = vec4(0x7fc07e00u); }\n\
             workgroupBarrier();\n    let n_chunks = HEAD_DIM / CHUNK;",
        ),
        &attention_matrix::check_some,
    );
}

#[test]
fn bugs_of_heads_are_caught() {
    let cases = || {
        let mut random = Random::new(511);
        for capacity in [None, Some(5)] {
            let case =
                head_norm_rope::Case { heads: heads(4, 2, 64, 16, 5), kv: Kv::Both, capacity, dtype: KvDtype::F32 };
            head_norm_rope::check(&mut random, case, &head_norm_rope::ROWS);
            let keys_only = head_norm_rope::Case { kv: Kv::KeysOnly, ..case };
            head_norm_rope::check(&mut random, keys_only, &head_norm_rope::ROWS);
        }
    };
    cases();
    for bug in [
        bug("turned backwards", "a * turn.cos - b * turn.sin", "a * turn.cos + b * turn.sin"),
        bug("v begins with k here", "params.first_v + kv_head", "params.n_heads + kv_head"),
        bug("second half stays", "room[d4 / 2u + i] = pair.hi;", "room[d4 / 2u + i] = b;"),
        bug("v rotated here", "select(0u, params.rotated_pairs, is_q || is_k)", "params.rotated_pairs"),
        bug("k with q's norm here", "select(0u, d4, is_k)", "0u"),
        bug("angles of the other kind of layer", "+ params.rotary_offset;", ";"),
        bug("cache does not wrap", "rows[t].position % params.capacity", "rows[t].position"),
        bug("angles of the first row", "let turns = t * params.rotary_stride", "let turns = 0u * params.rotary_stride"),
    ] {
        sees(bug, cases);
    }
    let chunks = || kv_store::check(&mut Random::new(512), 32, 7, 2, &kv_store::chunk(1, 3, 20));
    chunks();
    let from = "row.last_position - row.position";
    sees(bug("a chunk's first rows stay", from, "row.position - row.first_position"), chunks);
    sees(bug("store does not wrap", "row.position % params.capacity", "row.position"), chunks);
}
