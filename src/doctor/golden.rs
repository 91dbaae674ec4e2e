//! The demo model's golden chats: what a device makes of them, against the ids and logits of another engine.

use serde::Deserialize;
use web_time::Instant;

use super::{Finding, Outcome, of_tier};
use crate::Result;
use crate::checkpoint::Checkpoint;
use crate::error::Usage;
use crate::gpu::{Gpu, Tier, Tiers};
use crate::model::{Gemma4, Head, Next, Options, Precision, Row, Want};
use crate::testing::bounds::Measure;

/// A model and what it should say.
#[derive(Debug, Clone, Copy)]
pub struct Demo<'a> {
    /// The model.
    pub checkpoint: &'a Checkpoint,
    /// Its golden chats, as `examples/demo-model/golden.json`.
    pub golden: &'a [u8],
}

#[derive(Deserialize)]
struct Golden {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    prompt_ids: Vec<u32>,
    greedy_ids: Vec<u32>,
    top10_ids: Vec<u32>,
    top10_logits: Vec<f32>,
    min_greedy_margin: f32,
}

/// Chats whose every token is this much ahead of the next one: no rounding that is right turns a choice.
const MARGIN: f32 = 7.0;
/// Tokens of an answer at most.
const LONGEST_ANSWER: usize = 60;
/// Tokens at the end of a prompt that go through the kernels for few rows.
const FEW: usize = 5;
/// Inner activations of order 1 to 20 through some layers in f32 move logits by so much.
const EXACT_BOUND: f64 = 1e-3;
/// Rounding activations to int8 is off by 0.6 % after one layer, so by 5 % at most after eight.
const FAST_BOUND: f64 = 0.05;

/// The check in exact precision.
pub(super) const EXACT: &str = "demo model, exact";

/// The check in fast precision.
fn fast(tiers: Tiers) -> String {
    format!("demo model, fast, tier {tiers}")
}

/// Whether a check has this name.
pub(super) fn is_check(name: &str) -> bool {
    let all = [Tier::Plain, Tier::Dot, Tier::F16, Tier::Matrix];
    let mut tiers = all.iter().flat_map(|&few| all.map(|many| Tiers { few, many }));
    name == EXACT || tiers.any(|tiers| fast(tiers) == name)
}

/// Answers the chats whose choices are clear, in `precision`: prompts by the kernels for many rows and by those for few,
/// answers token by token.
pub(super) fn check_model(gpu: Gpu, demo: Demo, precision: Precision) -> Finding {
    let (start, mut measure) = (Instant::now(), Measure::default());
    let exact = precision == Precision::Exact;
    let mut name = EXACT.to_owned();
    let mut tier = Tier::Plain;
    let answer = || -> Result<()> {
        let golden: Golden = serde_json::from_slice(demo.golden).map_err(|e| Usage::Value {
            name: "golden chats".into(),
            found: format!("no such JSON ({e})"),
            expected: "the form of the demo model's".into(),
        })?;
        let head = if exact { Head::Keep } else { Head::Int8 };
        let options = Options { precision, head, context: Some(256), ..Options::exact() };
        let mut model = Gemma4::load(gpu, demo.checkpoint, &options, &|_| ())?;
        if !exact {
            tier = model.tiers().many;
            name = fast(model.tiers());
        }
        let is_clear = |case: &&Case| case.min_greedy_margin > MARGIN && case.greedy_ids.len() <= LONGEST_ANSWER;
        golden.cases.iter().filter(is_clear).try_for_each(|case| case.measure(&mut model, exact, &mut measure))
    };
    let outcome = match (answer(), measure.result()) {
        (Err(error), _) => Outcome::Failed(error.to_string()),
        (Ok(()), Err(difference)) => Outcome::Failed(difference),
        (Ok(()), Ok(())) => Outcome::Passed,
    };
    let (suspect, seconds) = (of_tier(tier), start.elapsed().as_secs_f64());
    Finding { name, tier, kv: None, outcome, measure, shaders: Vec::new(), suspect, seconds }
}

impl Case {
    fn measure(&self, model: &mut Gemma4, exact: bool, measure: &mut Measure) -> Result<()> {
        model.truncate(0, 0);
        let rows: Vec<Row> =
            self.prompt_ids.iter().enumerate().map(|(position, &token)| Row { slot: 0, position, token }).collect();
        let (many, few) = rows.split_at(rows.len() - FEW);
        for chunk in many.chunks(model.chunk_rows()) {
            model.step(chunk, Want::Nothing)?;
        }
        let logits = model.step(few, Want::Logits(&[FEW - 1]))?.logits;
        let largest = self.top10_logits.iter().fold(0.0f32, |most, logit| most.max(logit.abs()));
        let bound = if exact { EXACT_BOUND } else { FAST_BOUND * f64::from(largest) };
        let found: Vec<f32> = self.top10_ids.iter().map(|&id| logits[id as usize]).collect();
        measure.close(&format!("logits of \"{}\"", self.name), &self.top10_logits, &found, |_| bound);
        let best = (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b])).unwrap_or(0);
        let ids = self.answer(model, best as u32)?;
        measure.words(&format!("ids of \"{}\"", self.name), &self.greedy_ids, &ids);
        Ok(())
    }

    /// As many ids as the golden answer has, `first` among them.
    fn answer(&self, model: &mut Gemma4, first: u32) -> Result<Vec<u32>> {
        let mut ids = vec![first];
        while ids.len() < self.greedy_ids.len() {
            let token = ids[ids.len() - 1];
            if model.runs_ahead(1) {
                model.submit(&[Next { slot: 0, token: Some(token), draw: None }], &[])?;
                ids.extend(model.next_ids()?.into_iter().map(|chosen| chosen.token));
            } else {
                let row = Row { slot: 0, position: model.len(0), token };
                ids.extend(model.step(&[row], Want::Greedy(&[0]))?.ids);
            }
        }
        Ok(ids)
    }
}
