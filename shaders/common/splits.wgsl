// part: splits
// gives override: BLOCK, SPLITS
// gives fn: share_of, first_share, first_visible

// How a row's visible positions are dealt out to workgroups: whole blocks, as evenly as that allows. A row has SPLITS
// shares at most, fewer where the step has several rows, so that the partial results of a step always fit.

override BLOCK: u32 = 32;
override SPLITS: u32 = 32;

// Positions in each share of `visible`, for a step of `n_rows` rows.
fn share_of(visible: u32, n_rows: u32) -> u32 {
    let blocks = (visible + BLOCK - 1u) / BLOCK;
    let shares = max(SPLITS / n_rows, 1u);
    return (blocks + shares - 1u) / shares * BLOCK;
}

// Number of the first share's result of row t.
fn first_share(t: u32, n_rows: u32) -> u32 {
    return t * max(SPLITS / n_rows, 1u);
}

// The first position that a row at `position` sees.
fn first_visible(position: u32, window: u32) -> u32 {
    return max(position + 1u, window) - window;
}
