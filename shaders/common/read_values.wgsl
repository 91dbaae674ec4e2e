// part: read_values
// needs kv: KV_DTYPE, Packed, quad_a, quad_b
// needs sums: QUADS, n_columns
// needs around: Source, THREADS, place, v_cache
// gives override: VALUES, AHEAD
// gives struct: Values
// gives fn: value, load_values

// Values on their way from the cache: lanes of a stripe have a column of a value each.

// Values of a column that a lane adds up at a time, a stripe apart: 1, 2 or 4.
override VALUES: u32 = 4;
// Whether it reads them before their weights are known.
override AHEAD: bool = true;

// A column of the value of position p, or of the last one.
fn value(source: Source, p: u32, end: u32, column: u32) -> Packed {
    let at = place(source, min(p, end - 1u));
    if QUADS == 2u {
        return Packed(v_cache[at + quad_a(column)], v_cache[at + quad_b(column)]);
    }
    // Words alone of what stands in a quad with other lanes' values.
    let a = at + quad_a(column / 2u);
    if KV_DTYPE == 0u {
        return Packed(v_cache[a + column % 2u], vec4(0u));
    }
    if KV_DTYPE == 1u {
        let word = column % 2u * 2u;
        return Packed(vec4(v_cache[a][word], v_cache[a][word + 1u], 0u, 0u), vec4(0u));
    }
    return Packed(vec4(v_cache[a][column % 4u], v_cache[at + quad_b(column / 2u)][column / 8u % 4u], 0u, 0u), vec4(0u));
}

struct Values {
    v0: Packed,
    v1: Packed,
    v2: Packed,
    v3: Packed,
}

fn load_values(source: Source, p: u32, end: u32, column: u32) -> Values {
    let stripes = THREADS / n_columns();
    var values: Values;
    values.v0 = value(source, p, end, column);
    if VALUES > 1u {
        values.v1 = value(source, p + stripes, end, column);
    }
    if VALUES > 2u {
        values.v2 = value(source, p + 2u * stripes, end, column);
        values.v3 = value(source, p + 3u * stripes, end, column);
    }
    return values;
}
