// needs product: params
// needs activations: Chunk, Codes, chunk_of, codes_of, times
// needs outputs: factor_of, finish, write
// needs beside: BESIDE, beside
// needs block_sum: block_sum
// gives override: THREADS, LANES, LANE_ROWS, CHUNKS, ROLLED, EXPERTS, GATED, SUM, X_ROWS, SLOTS
// gives const: MAX_ROWS
// gives struct: Sums
// gives var: ids
// gives fn: has_row, weight_row, row_of, is_pair, block_sums, products, add_to_row, add, main

// y[p, n] = sum_k x[p / x_repeat, k] * w[matrix(p), n, k], one row of x at a time: decode, and experts.
// Linear: matrix(p) = 0. EXPERTS: matrix(p) = ids[p]; rows whose expert lies outside this part are left alone.
// GATED: w holds gate rows, then up rows, and y[p, n] = gelu(gate[n]) * up[n].
// SUM: y[p, n] = sum_s c[p, s] * (x[p * SLOTS + s] . w[ids[p * SLOTS + s], n]) over the experts of this part.
// LANES lanes walk k for LANE_ROWS rows of w, which share what a lane reads of x, and reduce; a workgroup holds
// THREADS / LANES such blocks. On GPUs loops have constant bounds, so that compilers unroll them and loads overlap.
// X_ROWS rows of x share what is read of w: one or two are all there, of MAX_ROWS the last may be missing. What becomes
// of the sums is in common/outputs.wgsl, or common/rounded_outputs.wgsl where the next product reads them rounded.

override THREADS: u32 = 64;
override LANES: u32 = 16;       // a power of two up to THREADS
override LANE_ROWS: u32 = 4;    // 1, 2 or 4; GATED: 2 or 4
override CHUNKS: u32 = 0;       // of 32 input features; 0: params.in_words says
override ROLLED: bool = false;  // one round of chunks in registers at a time, for GPUs that have few
override EXPERTS: bool = false;
override GATED: bool = false;
override SUM: bool = false;
override X_ROWS: u32 = 1;       // 1, 2 or MAX_ROWS; EXPERTS: 1
override SLOTS: u32 = 1;        // SUM: products that make one row of y

const MAX_ROWS: u32 = 4;

@group(0) @binding(6) var<storage, read> ids: array<u32>;       // [rows of y, or rows of y * SLOTS]; MAX_ROWS: the count

// Whether the step has row p of x; where rows may not be missing, nothing is read to know it.
fn has_row(p: u32) -> bool {
    return X_ROWS < MAX_ROWS || p < ids[0];
}

// Row of w that a lane's row r belongs to, of the block whose first output feature is n; beyond the last it repeats it.
fn weight_row(n: u32, r: u32) -> u32 {
    if GATED {
        let half = params.n_rows / 2u;
        let n_outputs = max(LANE_ROWS / 2u, 1u);
        return min(n + r % n_outputs, half - 1u) + (r / n_outputs) * half;
    }
    return min(n + r, params.n_rows - 1u);
}

// What a lane has added up, by row of x: a component for each of its rows of w.
struct Sums {
    rows: array<vec4<f32>, MAX_ROWS>,
}

// Row t without an index that is known late, which would keep the sums in memory.
fn row_of(sums: Sums, t: u32) -> vec4<f32> {
    return select(select(sums.rows[0], sums.rows[1], t == 1u), select(sums.rows[2], sums.rows[3], t == 3u), t > 1u);
}

// Whether the sums of both rows of x fit into one vec4.
fn is_pair() -> bool {
    return X_ROWS == 2u && LANE_ROWS <= 2u;
}

// The sums of the blocks, for the first lane of each.
fn block_sums(lane: u32, sums: Sums) -> Sums {
    var all: Sums;
    if is_pair() && LANE_ROWS == 1u {
        let both = block_sum(lane, 2u, vec4(sums.rows[0].x, sums.rows[1].x, 0.0, 0.0));
        all.rows[0].x = both.x;
        all.rows[1].x = both.y;
    } else if is_pair() {
        let both = block_sum(lane, 4u, vec4(sums.rows[0].xy, sums.rows[1].xy));
        all.rows[0] = vec4(both.xy, 0.0, 0.0);
        all.rows[1] = vec4(both.zw, 0.0, 0.0);
    } else {
        all.rows[0] = block_sum(lane, LANE_ROWS, sums.rows[0]);
        if X_ROWS > 1u {
            all.rows[1] = block_sum(lane, LANE_ROWS, sums.rows[1]);
        }
        if X_ROWS > 2u {
            all.rows[2] = block_sum(lane, LANE_ROWS, sums.rows[2]);
            all.rows[3] = block_sum(lane, LANE_ROWS, sums.rows[3]);
        }
    }
    return all;
}

// Products of the lane's rows of w with a chunk of a row of x.
fn products(w: array<Codes, 4>, x: Chunk) -> vec4<f32> {
    var all = vec4(times(w[0], x), 0.0, 0.0, 0.0);
    if LANE_ROWS > 1u {
        all.y = times(w[1], x);
    }
    if LANE_ROWS > 2u {
        all.z = times(w[2], x);
        all.w = times(w[3], x);
    }
    return all;
}

// Adds to row t. No place is named by an index that is known late: compilers would keep the sums in memory, or fail.
fn add_to_row(sums: ptr<function, Sums>, t: u32, more: vec4<f32>) {
    (*sums).rows[0] += select(vec4(0.0), more, vec4(t == 0u));
    (*sums).rows[1] += select(vec4(0.0), more, vec4(t == 1u));
    (*sums).rows[2] += select(vec4(0.0), more, vec4(t == 2u));
    (*sums).rows[3] += select(vec4(0.0), more, vec4(t == 3u));
}

// Adds the products of a chunk: of rows n.. of the matrix whose first row is given, with X_ROWS rows of x from slot on.
fn add(sums: ptr<function, Sums>, slot: u32, chunk: u32, factor: f32, first: u32, n: u32) {
    if CHUNKS == 0u { // A CPU compiles a row's code once, not LANE_ROWS times.
        for (var t = 0u; t < X_ROWS; t++) {
            let x = chunk_of((slot + t) / params.x_repeat, chunk);
            var all = vec4(0.0);
            for (var r = 0u; r < select(0u, LANE_ROWS, n < params.n_rows); r++) {
                let product = factor * times(codes_of(first + weight_row(n, r), chunk), x);
                all = select(all, vec4(product), vec4(r) == vec4(0u, 1u, 2u, 3u));
            }
            add_to_row(sums, t, all);
        }
        return;
    }
    var w: array<Codes, 4>;
    w[0] = codes_of(first + weight_row(n, 0u), chunk);
    if LANE_ROWS > 1u {
        w[1] = codes_of(first + weight_row(n, 1u), chunk);
    }
    if LANE_ROWS > 2u {
        w[2] = codes_of(first + weight_row(n, 2u), chunk);
        w[3] = codes_of(first + weight_row(n, 3u), chunk);
    }
    if ROLLED && X_ROWS > 1u {
        for (var t = 0u; t < min(X_ROWS, params.in_words); t++) {
            add_to_row(sums, t, factor * products(w, chunk_of(slot + t, chunk)));
        }
        return;
    }
    (*sums).rows[0] += factor * products(w, chunk_of(slot / params.x_repeat, chunk));
    if X_ROWS > 1u {
        (*sums).rows[1] += factor * products(w, chunk_of(slot + 1u, chunk));
    }
    if X_ROWS > 2u {
        (*sums).rows[2] += factor * products(w, chunk_of(slot + 2u, chunk));
        (*sums).rows[3] += factor * products(w, chunk_of(slot + 3u, chunk));
    }
}

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    if group.x < BESIDE {
        beside(group, lane);
        return;
    }
    let p = group.y * X_ROWS;
    var matrix = 0u;
    if EXPERTS && !SUM {
        matrix = ids[p] - params.first_matrix; // An expert before this part wraps around to a large number.
        if matrix >= params.n_matrices {
            return;
        }
    }
    let n_outputs = select(LANE_ROWS, LANE_ROWS / 2u, GATED);
    let block = (group.x - BESIDE + group.z * (groups.x - BESIDE)) * (THREADS / LANES);
    let n = (block + lane / LANES) * n_outputs;
    // A bound from the parameters keeps compilers from unrolling.
    let chunks = select(CHUNKS, params.in_words / 4u, CHUNKS == 0u || ROLLED);
    let n_places = SLOTS * chunks;
    var sums: Sums;
    // As many rounds for every lane, so that compilers can unroll them and loads of all rounds overlap.
    for (var i = 0u; i < (n_places + LANES - 1u) / LANES; i++) {
        let at = min(lane % LANES + i * LANES, n_places - 1u);
        var slot = p;
        var chunk = at;
        var factor = select(0.0, 1.0, lane % LANES + i * LANES < n_places);
        if SUM {
            slot = p * SLOTS + at / chunks;
            chunk = at % chunks;
            matrix = ids[slot] - params.first_matrix;
            factor *= factor_of(slot);
            if matrix >= params.n_matrices {
                matrix = 0u;
                factor = 0.0;
            }
        }
        add(&sums, slot, chunk, factor, matrix * params.n_rows, n);
    }
    let totals = block_sums(lane, sums);
    for (var t = 0u; t < X_ROWS; t++) {
        if lane % LANES == 0u && has_row(p + t) {
            write(p + t, n, (t * (THREADS / LANES) + lane / LANES) * n_outputs, row_of(totals, t));
        }
    }
    finish(p, block * n_outputs, lane);
}
