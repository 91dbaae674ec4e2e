// A chunk of 32 activations as they are, for matvec.wgsl.

struct Chunk {
    x: array<vec4<f32>, 8>,
}

fn chunk_of(row: u32, chunk: u32) -> Chunk {
    let at = row * (params.x_stride / 4u) + 8u * chunk;
    return Chunk(array(x[at], x[at + 1u], x[at + 2u], x[at + 3u], x[at + 4u], x[at + 5u], x[at + 6u], x[at + 7u]));
}

fn chunk_product(row: u32, chunk: u32, c: Chunk) -> f32 {
    return product32(row, chunk, c.x);
}
