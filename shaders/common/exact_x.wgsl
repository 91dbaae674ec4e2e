// part: activations
// needs product: params, x
// needs weights: product32, weights8
// gives override: BY_WORDS
// gives struct: Chunk, Codes
// gives fn: chunk_of, codes_of, times

// A chunk of 32 activations as they are, for matvec.wgsl.

override BY_WORDS: bool = false; // eight activations in registers at a time, not all of a chunk

struct Chunk {
    at: u32,
    x: array<vec4<f32>, 8>,
}

fn chunk_of(row: u32, chunk: u32) -> Chunk {
    let at = row * (params.x_stride / 4u) + 8u * chunk;
    return Chunk(at, array(x[at], x[at + 1u], x[at + 2u], x[at + 3u], x[at + 4u], x[at + 5u], x[at + 6u], x[at + 7u]));
}

// Where the codes stand.
struct Codes {
    row: u32,
    chunk: u32,
}

fn codes_of(row: u32, chunk: u32) -> Codes {
    return Codes(row, chunk);
}

fn times(w: Codes, c: Chunk) -> f32 {
    if BY_WORDS {
        var sum = 0.0;
        // A bound from the parameters keeps compilers from unrolling.
        for (var i = 0u; i < min(params.in_words, 4u); i++) {
            let eight = weights8(w.row, 4u * w.chunk + i);
            sum += dot(eight[0], x[c.at + 2u * i]) + dot(eight[1], x[c.at + 2u * i + 1u]);
        }
        return sum;
    }
    return product32(w.row, w.chunk, c.x);
}
