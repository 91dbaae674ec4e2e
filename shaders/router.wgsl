// P = softmax(logits[t]) over all experts; the top_k largest (on a tie the lower index), renormalized to 1, times
// per_expert_scale: ids[t, s] and weights[t, s] by descending probability. One workgroup a row.
// The rank of an expert is the number of experts that come before it, so no sort and no barrier is needed.

const MAX_EXPERTS: u32 = 1024;
const MAX_TOP_K: u32 = 64;

// Loop bounds are constants of the pipeline: lavapipe compiles a shader anew for each binding of a uniform that bounds
// its loops.
override N_EXPERTS: u32 = 8; // up to MAX_EXPERTS
override TOP_K: u32 = 2;     // up to MAX_TOP_K

struct Params {
    stride: u32, // of logits
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<f32>;           // [rows, stride]
@group(0) @binding(2) var<storage, read> per_expert_scale: array<f32>; // [n_experts]
@group(0) @binding(3) var<storage, read_write> ids: array<u32>;        // [rows, top_k]
@group(0) @binding(4) var<storage, read_write> weights: array<f32>;    // [rows, top_k]

var<workgroup> logit: array<f32, MAX_EXPERTS>;
var<workgroup> top_id: array<u32, MAX_TOP_K>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let t = group.y;
    for (var e = lane; e < N_EXPERTS; e += 64u) {
        logit[e] = logits[t * params.stride + e];
    }
    if lane < TOP_K {
        top_id[lane] = lane; // Where logits are NaN some rank stays free below; ids are in range all the same.
    }
    workgroupBarrier();
    for (var e = lane; e < N_EXPERTS; e += 64u) {
        var rank = 0u;
        for (var other = 0u; other < N_EXPERTS; other++) {
            let before = logit[other] > logit[e] || (logit[other] == logit[e] && other < e);
            rank += select(0u, 1u, before);
        }
        if rank < TOP_K {
            top_id[rank] = e;
        }
    }
    workgroupBarrier();
    // Renormalizing the top of a softmax is the softmax of the top: the other experts' share cancels.
    if lane < TOP_K {
        let largest = logit[top_id[0]];
        var sum = 0.0;
        for (var s = 0u; s < TOP_K; s++) {
            sum += exp(logit[top_id[s]] - largest);
        }
        let e = top_id[lane];
        ids[t * TOP_K + lane] = e;
        weights[t * TOP_K + lane] = exp(logit[e] - largest) / sum * per_expert_scale[e];
    }
}
