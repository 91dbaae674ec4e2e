//! What to do where a model does not fit: changes of the options, each planned and found to fit.

use std::sync::Arc;

use super::layout::{ModelLayout, RankLayout};
use super::memory::{DevicePlan, MemoryPlan};
use super::options::{Head, Options};
use crate::checkpoint::Checkpoint;
use crate::error::{Advice, Bound, NoRoom, Remedy};
use crate::gemma4::Config;
use crate::gpu::Gpu;
use crate::kernels::KvDtype;
use crate::{Error, Result};

/// No context below it is offered: it would not hold a question and its answer.
const MIN_CONTEXT: usize = 256;

/// What a model takes with these options.
pub(crate) type Plan<'a> = dyn Fn(&Options) -> Result<MemoryPlan> + 'a;

/// What was asked for, and what a model takes with other options: what advice is made from.
#[derive(Clone, Copy)]
pub(crate) struct Advisor<'a> {
    pub options: &'a Options,
    pub plan: &'a Plan<'a>,
}

/// Fails where the plan exceeds the budget that was asked for.
///
/// # Errors
/// [`Error::Memory`] with what was asked, what the plan says, and what would fit; those of the plan.
pub(crate) fn check(config: &Config, Advisor { options, plan }: Advisor) -> Result<()> {
    let Some(budget) = options.memory else { return Ok(()) };
    let asked = plan(options)?;
    let Some(device) = asked.devices.iter().find(|device| device.total() > budget) else { return Ok(()) };
    let (layers, rooms) = (expert_layers(config), vec![budget; asked.devices.len()]);
    let mut no_room = NoRoom::new(Some(&device.name), "the model", device.total(), budget, Bound::Budget);
    no_room.plan = Some(device.planned(asked.context));
    no_room.advice = Some(Search { plan, options, layers, rooms }.advice());
    Err(no_room.into())
}

impl MemoryPlan {
    /// Fails where the plan of [`MemoryPlan::new`] exceeds the budget of `options`, with what would fit.
    ///
    /// # Errors
    /// [`crate::Error::Memory`] with the plan and what would fit; those of [`MemoryPlan::new`].
    pub fn check(gpus: &[Arc<Gpu>], checkpoint: &Checkpoint, options: &Options) -> Result<()> {
        let claimed = checkpoint.claimed_contents();
        let plan = |options: &Options| Self::with_contents(gpus, checkpoint, &claimed, options);
        check(&checkpoint.config, Advisor { options, plan: &plan })
    }
}

/// What devices held before a model was loaded: what they gave until one had no room is what they have room for.
pub(crate) struct Rooms(Vec<Before>);

/// A device, and the bytes that it held.
struct Before {
    gpu: Arc<Gpu>,
    bytes: u64,
}

impl Rooms {
    pub(crate) fn before(layout: &ModelLayout) -> Self {
        let mut gpus: Vec<Before> = Vec::new();
        for RankLayout { gpu, .. } in &layout.ranks {
            if gpus.iter().all(|known| !Arc::ptr_eq(&known.gpu, gpu)) {
                gpus.push(Before { gpu: gpu.clone(), bytes: gpu.allocated_bytes() });
            }
        }
        Rooms(gpus)
    }

    /// `error` of a load; with advice where it is of a device that had no room for a buffer.
    pub(crate) fn explain(&self, error: Error, config: &Config, advisor: Advisor) -> Error {
        let room = |before: &Before| before.gpu.refused_at().map(|bytes| bytes.saturating_sub(before.bytes));
        let rooms: Vec<Option<u64>> = self.0.iter().map(room).collect();
        match rooms.iter().any(Option::is_some) {
            true => {
                let rooms = rooms.iter().map(|room| room.unwrap_or(u64::MAX)).collect();
                explain(error, config, advisor, rooms)
            }
            false => error,
        }
    }
}

/// `error`, which a device gave that had no room, with what the plan says and what would fit in what was taken before:
/// `rooms` are bytes for each device.
fn explain(error: Error, config: &Config, Advisor { options, plan }: Advisor, rooms: Vec<u64>) -> Error {
    let Error::Memory(mut no_room) = error else { return error };
    // Advice is for what is there once the cache is full.
    let options = Options { memory: Some(0), ..options.clone() };
    let Ok(asked) = plan(&options) else { return Error::Memory(no_room) };
    let short = asked.devices.iter().zip(&rooms).find(|(device, room)| device.total() > **room);
    let Some((device, room)) = short else { return Error::Memory(no_room) };
    no_room.plan = Some(device.planned(asked.context));
    no_room.room = Some(*room);
    let search = Search { plan, options: &options, layers: expert_layers(config), rooms: rooms.clone() };
    no_room.advice = Some(search.advice());
    Error::Memory(no_room)
}

/// Layers whose experts may go to host memory.
fn expert_layers(config: &Config) -> usize {
    if config.is_moe() { config.num_hidden_layers } else { 0 }
}

/// A change of the options.
#[derive(Debug, Clone, Copy, Default)]
struct Change {
    context: Option<usize>,
    int8_kv: bool,
    int4_head: bool,
    host_experts: Option<usize>,
}

impl Change {
    /// What callers are told: as many remedies as it has parts.
    fn remedies(self) -> Vec<Remedy> {
        let mut remedies = Vec::new();
        remedies.extend(self.context.map(Remedy::ShorterContext));
        remedies.extend(self.int8_kv.then_some(Remedy::SmallerCache { bits: 8 }));
        remedies.extend(self.int4_head.then_some(Remedy::SmallerHead { bits: 4 }));
        remedies.extend(self.host_experts.map(Remedy::ExpertsOnHost));
        remedies
    }

    fn apply(self, options: &Options) -> Options {
        Options {
            context: self.context.or(options.context),
            kv: if self.int8_kv { Some(KvDtype::Int8) } else { options.kv },
            head: if self.int4_head { Head::Int4 } else { options.head },
            host_experts: self.host_experts.unwrap_or(options.host_experts),
            ..options.clone()
        }
    }
}

/// A search for changes that fit.
struct Search<'a> {
    plan: &'a Plan<'a>,
    options: &'a Options,
    /// Layers with experts, which may go to host memory.
    layers: usize,
    /// Bytes that there are on each device.
    rooms: Vec<u64>,
}

/// Changes that do not suffice, and the bytes that are needed with them.
struct Short {
    change: Change,
    needed: u64,
}

impl Search<'_> {
    /// What fits.
    fn advice(&self) -> Advice {
        let singles = self.singles();
        if !singles.is_empty() {
            return Advice::AnyOf(singles.into_iter().flat_map(Change::remedies).collect());
        }
        match self.together() {
            Ok(change) => Advice::Together(change.remedies()),
            Err(Some(Short { change, needed })) => Advice::TooLarge { with: change.remedies(), needed },
            Err(None) => Advice::Nothing,
        }
    }

    /// Single changes that suffice.
    fn singles(&self) -> Vec<Change> {
        let fixed = [Change { int8_kv: true, ..Change::default() }, Change { int4_head: true, ..Change::default() }];
        let context = self.largest_context(Change::default());
        let fixed = fixed.into_iter().filter(|change| self.fits(*change));
        context.into_iter().chain(fixed).chain(self.fewest_host_experts(Change::default())).collect()
    }

    /// As few changes as suffice, one after the other; else all of them, and the bytes that they take.
    fn together(&self) -> std::result::Result<Change, Option<Short>> {
        let (mut all, mut least) = (Change::default(), self.bytes(Change::default()));
        for next in [|all| Change { int8_kv: true, ..all }, |all| Change { int4_head: true, ..all }] {
            let tried: Change = next(all);
            let bytes = self.bytes(tried);
            // What saves nothing is not asked for.
            if bytes < least {
                (all, least) = (tried, bytes);
            }
            if self.fits(all) {
                return Ok(all);
            }
        }
        if let Some(change) = self.fewest_host_experts(all) {
            return Ok(change);
        }
        let tried = Change { host_experts: Some(self.layers), ..all };
        let bytes = if self.layers > 0 { self.bytes(tried) } else { u64::MAX };
        if bytes < least {
            (all, least) = (tried, bytes);
        }
        if let Some(change) = self.largest_context(all) {
            return Ok(change);
        }
        let smallest = Change { context: Some(MIN_CONTEXT), ..all };
        match self.bytes(smallest) {
            bytes if bytes < least => Err(Some(Short { change: smallest, needed: bytes })),
            _ if least < self.bytes(Change::default()) => Err(Some(Short { change: all, needed: least })),
            _ => Err(None),
        }
    }

    /// `change` with the largest context that fits, where there is one.
    fn largest_context(&self, change: Change) -> Option<Change> {
        let asked = (self.plan)(&change.apply(self.options)).ok()?.context;
        let with = |context| Change { context: Some(context), ..change };
        let most = last(MIN_CONTEXT, asked, |context| self.fits(with(context)))?;
        Some(with(most))
    }

    /// `change` with the fewest layers' experts in host memory with which it fits, if any number of layers does.
    fn fewest_host_experts(&self, change: Change) -> Option<Change> {
        let with = |layers| Change { host_experts: Some(layers), ..change };
        let (first, end) = (self.options.host_experts + 1, self.layers + 1);
        // The first that fits stands behind the last that does not.
        let fewest = last(first, end, |layers| !self.fits(with(layers))).map_or(first, |last| last + 1);
        (fewest < end).then(|| with(fewest))
    }

    fn fits(&self, change: Change) -> bool {
        let plan = (self.plan)(&change.apply(self.options));
        plan.is_ok_and(|plan| plan.devices.iter().zip(&self.rooms).all(|(device, room)| device.total() <= *room))
    }

    /// What the fullest device takes; more than anything where the options do not fit the model or the device.
    fn bytes(&self, change: Change) -> u64 {
        let plan = (self.plan)(&change.apply(self.options));
        plan.map_or(u64::MAX, |plan| plan.devices.iter().map(DevicePlan::total).max().unwrap_or(0))
    }
}

/// The last number from `first` to the one before `end` of which `holds` is true, where it is for all before it.
fn last(first: usize, end: usize, holds: impl Fn(usize) -> bool) -> Option<usize> {
    if first >= end || !holds(first) {
        return None;
    }
    let (mut low, mut high) = (first, end);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if holds(middle) { low = middle } else { high = middle }
    }
    Some(low)
}

#[cfg(test)]
mod tests {
    use super::last;

    #[test]
    fn the_last_that_holds() {
        for (most, found) in [(3, None), (4, Some(4)), (7, Some(7)), (9, Some(9)), (50, Some(9))] {
            assert_eq!(last(4, 10, |number| number <= most), found, "{most}");
        }
        assert_eq!(last(4, 4, |_| true), None);
    }
}
