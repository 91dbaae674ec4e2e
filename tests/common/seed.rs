//! Fresh seeds: each run draws its own and says it, past the test runner's capture; `LAPIDARY_SEED=N` draws the same again. A
//! test that fails names it too.

use std::io::Write;
use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

/// The variable that repeats a run.
const VARIABLE: &str = "LAPIDARY_SEED";

/// The seed of this run.
static RUN: LazyLock<u64> = LazyLock::new(|| {
    let given = std::env::var(VARIABLE).ok();
    let given = given.map(|text| text.parse().unwrap_or_else(|_| panic!("{VARIABLE}={text}, expected a whole number")));
    let nanoseconds = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos() as u64);
    let seed = given.unwrap_or_else(|| mix(nanoseconds() ^ u64::from(std::process::id()).rotate_left(40)) >> 16);
    std::io::stderr().write_all(format!("seed of this run: {VARIABLE}={seed}\n").as_bytes()).ok();
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        before(panic);
        eprintln!("{VARIABLE}={seed} draws the same again");
    }));
    seed
});

/// A step of splitmix64 (Steele, Lea, Flood 2014).
fn mix(state: u64) -> u64 {
    let z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A seed that is another in each run; `number` tells the places of a program apart that draw.
pub(crate) fn seed(number: u64) -> u64 {
    mix(*RUN ^ mix(number))
}
