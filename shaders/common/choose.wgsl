// part: choose
// needs around: THREADS
// gives override: N_EXPERTS, TOP_K, PARTS, PART_QUADS, LOGIT_QUADS, COUNTS
// gives const: MAX_EXPERTS, MAX_TOP_K, LOWEST_KEY
// gives var: logits, per_expert_scale, chosen_ids, chosen_weights, keys, expert_scales, counts, top_id, top_logit
// gives fn: keys_of, logit_of, count_before, choose

// P = softmax(logits[t]) over all experts; the top_k largest (on a tie the lower index), renormalized to 1, times
// per_expert_scale: chosen_ids[t, s] and chosen_weights[t, s] by descending probability. One workgroup a row.
// The rank of an expert is the number of experts that come before it, so no sort is needed. PARTS lanes share an expert:
// each counts among a part of the others.

const MAX_EXPERTS: u32 = 1024;
const MAX_TOP_K: u32 = 64;

// Loop bounds are constants of the pipeline: lavapipe compiles a shader anew for each binding of a uniform that bounds
// its loops.
override N_EXPERTS: u32 = 8;   // up to MAX_EXPERTS
override TOP_K: u32 = 2;       // up to MAX_TOP_K
override PARTS: u32 = 1;       // PARTS * N_EXPERTS is at most MAX_EXPERTS
override PART_QUADS: u32 = 2;  // ceil(ceil(N_EXPERTS / 4) / PARTS)
override LOGIT_QUADS: u32 = 2; // of a row of logits, padding included
override COUNTS: u32 = 8;      // PARTS * N_EXPERTS

@group(0) @binding(11) var<storage, read> logits: array<vec4<f32>>;           // [rows, LOGIT_QUADS]
@group(0) @binding(12) var<storage, read> per_expert_scale: array<f32>;       // [n_experts]
@group(0) @binding(13) var<storage, read_write> chosen_ids: array<u32>;       // [rows, top_k]
@group(0) @binding(14) var<storage, read_write> chosen_weights: array<f32>;   // [rows, top_k]

var<workgroup> keys: array<vec4<i32>, LOGIT_QUADS>;
var<workgroup> expert_scales: array<f32, N_EXPERTS>;
var<workgroup> counts: array<u32, COUNTS>; // [PARTS, N_EXPERTS]
var<workgroup> top_id: array<u32, MAX_TOP_K>;
var<workgroup> top_logit: array<f32, MAX_TOP_K>;

const LOWEST_KEY: i32 = -0x7fffffff;

// Integers in the order of the logits, also where these are no numbers: each expert has a rank of its own, whatever comes.
// Zeros of both signs are equal.
fn keys_of(logits: vec4<f32>) -> vec4<i32> {
    let bits = bitcast<vec4<i32>>(select(logits, vec4(0.0), logits == vec4(0.0)));
    return max(select(bits, bits ^ vec4(0x7fffffff), bits < vec4(0)), vec4(LOWEST_KEY));
}

fn logit_of(key: i32) -> f32 {
    return bitcast<f32>(select(key, key ^ 0x7fffffff, key < 0));
}

// How many of the experts of PART_QUADS quads come before expert e.
fn count_before(e: u32, first: u32) -> u32 {
    let mine = keys[e / 4u][e % 4u];
    var count = vec4(0u);
    // Four at a time: one after the other, each would be waited for.
    for (var j = 0u; j < PART_QUADS; j += 4u) {
        let quad = vec4(first + j) + vec4(0u, 1u, 2u, 3u);
        let at = min(quad, vec4(min(first + PART_QUADS - 1u, (N_EXPERTS - 1u) / 4u)));
        let k0 = keys[at.x];
        let k1 = keys[at.y];
        let k2 = keys[at.z];
        let k3 = keys[at.w];
        // Equals come before where their index is lower: a quad's are all lower or all higher, but for the expert's own.
        // What stands behind the part's end comes before nothing.
        let bound = select(select(vec4(mine), vec4(mine - 1), quad < vec4(e / 4u)), vec4(0x7fffffff), quad > at);
        count += select(vec4(0u), vec4(1u), k0 > vec4(bound.x));
        count += select(vec4(0u), vec4(1u), k1 > vec4(bound.y));
        count += select(vec4(0u), vec4(1u), k2 > vec4(bound.z));
        count += select(vec4(0u), vec4(1u), k3 > vec4(bound.w));
    }
    if e / 4u >= first && e / 4u < first + PART_QUADS {
        let is_equal = (keys[e / 4u] == vec4(mine)) & (vec4(0u, 1u, 2u, 3u) < vec4(e % 4u));
        count += select(vec4(0u), vec4(1u), is_equal);
    }
    return count.x + count.y + count.z + count.w;
}

fn choose(t: u32, lane: u32) {
    workgroupBarrier(); // The row before has been chosen.
    // All that is read is under way before any of it is waited for.
    for (var quad = lane; quad < (N_EXPERTS + 3u) / 4u; quad += THREADS) {
        let index = vec4(4u * quad) + vec4(0u, 1u, 2u, 3u);
        let row = keys_of(logits[t * LOGIT_QUADS + quad]);
        keys[quad] = select(vec4(LOWEST_KEY - 1), row, index < vec4(N_EXPERTS));
    }
    for (var e = lane; e < N_EXPERTS; e += THREADS) {
        expert_scales[e] = per_expert_scale[e];
    }
    workgroupBarrier();
    for (var i = lane; i < COUNTS; i += THREADS) {
        counts[i] = count_before(i % N_EXPERTS, i / N_EXPERTS * PART_QUADS);
    }
    workgroupBarrier();
    for (var e = lane; e < N_EXPERTS; e += THREADS) {
        var rank = 0u;
        for (var part = 0u; part < PARTS; part++) {
            rank += counts[part * N_EXPERTS + e];
        }
        if rank < TOP_K {
            top_id[rank] = e;
            top_logit[rank] = logit_of(keys[e / 4u][e % 4u]);
        }
    }
    workgroupBarrier();
    // Renormalizing the top of a softmax is the softmax of the top: the other experts' share cancels.
    for (var slot = lane; slot < TOP_K; slot += THREADS) {
        let largest = top_logit[0];
        var sum = 0.0;
        for (var s = 0u; s < TOP_K; s++) {
            sum += exp(top_logit[s] - largest);
        }
        let e = top_id[slot];
        chosen_ids[t * TOP_K + slot] = e;
        chosen_weights[t * TOP_K + slot] = exp(top_logit[slot] - largest) / sum * expert_scales[e];
    }
}
