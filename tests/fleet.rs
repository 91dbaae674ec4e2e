//! x
#[path = "fleet/keys.rs"]
mod keys;
use lapidary::gpu::Gpu;
use std::sync::Arc;
#[test]
fn times() {
    let gpu = Arc::new(Gpu::open(None).unwrap());
    let start = std::time::Instant::now();
    let k = keys::planned(&gpu, None);
    println!("{} keys {:?}", k.len(), start.elapsed());
    let gpu = Arc::new(Gpu::imagined().unwrap());
    let start = std::time::Instant::now();
    let k = keys::planned(&gpu, None);
    println!("{} keys {:?}, {:?}", k.len(), start.elapsed(), keys::others(&k).keys());
    let mut c = std::collections::BTreeMap::new();
    for u in k.values() {
        *c.entry(keys::kernel(&u.key)).or_insert(0) += 1;
    }
    println!("{c:#?}");
    for n in lapidary::checkpoint::Config::presets() {
        println!("{n} {}", keys::short(n).layers.len());
    }
}
