//! The values of shaders' `override` constants, and which of them stand together.

use std::collections::BTreeSet;

use naga::Module;

/// The values that the host gives each `override` constant.
pub(crate) fn values(constant: &str) -> &'static [u32] {
    match constant {
        "DTYPE" | "SCALE_DTYPE" => &[0, 1, 2],
        "BITS" => &[4, 8],
        "GROUP_SIZE" => &[32, 2112],
        "PER_ROW" | "HAS_ZEROS" | "EXPERTS" | "TO_CACHE" | "FROM_CACHE" | "SUMMED" | "CLEAR" | "GATED" | "SUM"
        | "ADD" | "WHOLE" | "STORES" | "LAST" | "DIRECT" | "AHEAD" | "EARLY" | "INTERLEAVED" | "SQUARES" => &[0, 1],
        "RUN" => &[1, 8, 32],
        "LANES" => &[1, 16, 64],
        "LANE_ROWS" => &[2, 4],
        "CHUNKS" => &[0, 22, 88],
        "SLOTS" => &[1, 8],
        "SUBGROUP" => &[8, 32],
        "THREADS" => &[64, 16, 256],
        "HEADS" => &[1, 2, 4],
        // Of 4 heads of 512 dimensions, which take the most.
        "ROOM" => &[768],
        "UNITS" => &[384],
        "ROUNDS" => &[1, 3],
        "KV_DTYPE" => &[0, 1, 2],
        "Q_SIDE" => &[16, 8],
        "LINES" => &[64, 32, 16],
        "LANE_LINES" => &[8, 4],
        "LANE_KEYS" => &[2, 1],
        "VALUES" => &[4, 2, 1],
        "QUADS" => &[2, 1],
        "KEYS" => &[32, 64],
        "STAGE" => &[784],
        "HEAD_DIM" => &[16, 512],
        "BLOCK" => &[32],
        "SPLITS" => &[1, 64],
        "HELD" => &[0, 3, 6],
        "COLUMNS" => &[16],
        "PLACES" => &[16, 64],
        "BESIDE" => &[1, 128],
        "X_ROWS" => &[1, 2, 4],
        "WIDTH" => &[33, 2816],
        "LANES_T" | "LANES_N" => &[8],
        "ROWS" => &[8],
        "K_STEP" => &[16, 32],
        "BLOCKS_T" => &[2, 1],
        "BLOCKS_N" => &[2, 4],
        "ACROSS" => &[4, 2],
        "MATRIX_LANES" => &[128, 64, 256],
        "CELLS_X" | "CELLS_W" => &[640, 1280],
        "RESULTS" => &[1024],
        "SHARES" => &[1, 8],
        "SHARE_ROWS" => &[2048],
        "SCALES_X" | "SCALES_W" => &[128, 256],
        // Of the product of many rows with 8 rows a lane, which is the larger.
        "QUADS_X" => &[320],
        "QUADS_W" => &[320],
        "X_REPEAT" => &[8],
        "TILE_T" => &[32],
        "N_EXPERTS" => &[8, 128],
        "TOP_K" => &[2, 8],
        "PARTS" | "LANE_QUADS" => &[1, 2],
        "PART_QUADS" => &[2, 16],
        "STRIPS" => &[4, 4096],
        "PLACE_BITS" => &[8, 18, 31],
        "OUTPUTS" => &[0, 1, 2, 3],
        "BESIDE_DTYPE" => &[0, 1, 2],
        "BESIDE_QUADS" | "BESIDE_X" | "BESIDE_Y" => &[8, 704],
        "LOGIT_QUADS" => &[2, 32],
        "COUNTS" => &[8, 256],
        other => panic!("override {other}: a constant whose values this test does not know"),
    }
}

/// Combinations of values of the shader's `override` constants: all where they are few, else every pair of values of every
/// two constants, the others at their first value.
pub(crate) fn combinations(module: &Module) -> BTreeSet<Vec<(String, u32)>> {
    let names: Vec<&String> =
        module.overrides.iter().map(|(_, constant)| constant.name.as_ref().expect("overrides have names")).collect();
    let with = |chosen: &[(usize, u32)]| -> Vec<(String, u32)> {
        let value = |i: usize| chosen.iter().find(|(at, _)| *at == i).map_or(values(names[i])[0], |(_, value)| *value);
        names.iter().enumerate().map(|(i, name)| ((*name).clone(), value(i))).collect()
    };
    let sizes = names.iter().map(|name| values(name).len());
    if sizes.product::<usize>() > 1000 {
        let mut pairs = BTreeSet::new();
        for (i, j) in (0..names.len()).flat_map(|i| (0..i).map(move |j| (i, j))) {
            for &a in values(names[i]) {
                pairs.extend(values(names[j]).iter().map(|&b| with(&[(i, a), (j, b)])));
            }
        }
        return pairs;
    }
    let mut all = vec![Vec::new()];
    for (i, name) in names.iter().enumerate() {
        let extended = |chosen: &Vec<(usize, u32)>| {
            let chosen = chosen.clone();
            values(name).iter().map(move |&value| [chosen.clone(), vec![(i, value)]].concat()).collect::<Vec<_>>()
        };
        all = all.iter().flat_map(extended).collect();
    }
    all.iter().map(|chosen| with(chosen)).collect()
}

/// Attention has a lane for each position of a block at least; rounded tiles read whole chunks of 32.
pub(crate) fn is_possible(constants: &[(String, u32)]) -> bool {
    let value = |wanted: &str| constants.iter().find(|(name, _)| name == wanted).map(|(_, value)| *value);
    let is_rounded = value("ACROSS").or(value("SCALES_X")).is_some();
    !(is_rounded && value("K_STEP") == Some(16))
        && value("BLOCK").is_none_or(|block| value("THREADS").is_none_or(|threads| threads >= block))
}
