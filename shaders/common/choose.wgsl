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

var<workgroup> quads: array<vec4<f32>, LOGIT_QUADS>;
var<workgroup> expert_scales: array<f32, N_EXPERTS>;
var<workgroup> counts: array<u32, COUNTS>; // [PARTS, N_EXPERTS]
var<workgroup> top_id: array<u32, MAX_TOP_K>;
var<workgroup> top_logit: array<f32, MAX_TOP_K>;

fn logit(e: u32) -> f32 {
    return quads[e / 4u][e % 4u];
}

// How many of the experts 4 * first to 4 * (first + PART_QUADS) come before expert e. Comparisons with a NaN are false.
fn count_before(e: u32, first: u32) -> u32 {
    let mine = vec4(logit(e));
    var count = vec4(0u);
    for (var j = 0u; j < PART_QUADS; j++) {
        let others = quads[min(first + j, (N_EXPERTS - 1u) / 4u)];
        let index = vec4(4u * (first + j)) + vec4(0u, 1u, 2u, 3u);
        let before = (others > mine) | ((others == mine) & (index < vec4(e)));
        count += select(vec4(0u), vec4(1u), before & (index < vec4(N_EXPERTS)));
    }
    return count.x + count.y + count.z + count.w;
}

fn choose(t: u32, lane: u32) {
    workgroupBarrier(); // The row before has been chosen.
    // All that is read is under way before any of it is waited for.
    for (var quad = lane; quad < (N_EXPERTS + 3u) / 4u; quad += THREADS) {
        quads[quad] = logits[t * LOGIT_QUADS + quad];
    }
    for (var e = lane; e < N_EXPERTS; e += THREADS) {
        expert_scales[e] = per_expert_scale[e];
    }
    workgroupBarrier();
    for (var i = lane; i < COUNTS; i += THREADS) {
        counts[i] = count_before(i % N_EXPERTS, i / N_EXPERTS * PART_QUADS);
    }
    for (var s = lane; s < TOP_K; s += THREADS) {
        // Where logits are NaN some rank stays free below; ids are in range all the same.
        top_id[s] = s;
        top_logit[s] = logit(s);
    }
    workgroupBarrier();
    for (var e = lane; e < N_EXPERTS; e += THREADS) {
        var rank = 0u;
        for (var part = 0u; part < PARTS; part++) {
            rank += counts[part * N_EXPERTS + e];
        }
        if rank < TOP_K {
            top_id[rank] = e;
            top_logit[rank] = logit(e);
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
