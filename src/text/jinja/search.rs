//! Looking for text in text. Stand-ins count as what they stand for, and the places found are those in the text as it is.

use std::borrow::Cow;
use std::ops::Range;

use super::ctx::Ctx;
use super::fault::Run;
use super::text::Text;

/// A text that can be searched.
pub(super) struct Haystack<'t> {
    shown: Cow<'t, str>,
    /// For a text with stand-ins, where each byte that is shown begins in it.
    places: Option<Vec<u32>>,
}

impl<'t> Haystack<'t> {
    /// `text`, to be searched for `needle`.
    pub(super) fn new(ctx: &Ctx, text: &'t Text, needle: &Text) -> Run<Self> {
        ctx.budget.reads(text.text.len())?;
        let bare = !needle.hidden && !needle.text.chars().any(|c| ctx.guard.is_edge(c));
        if !text.hidden || bare && !needle.text.is_empty() {
            // Nothing that is looked for can be a stand-in.
            return Ok(Self { shown: Cow::Borrowed(&text.text), places: None });
        }
        ctx.budget.reads(8 * text.text.len())?;
        let shown = ctx.guard.show(&text.text);
        let mut places = vec![0; shown.len() + 1];
        let mut at = 0;
        for (place, c) in text.text.char_indices() {
            places[at] = place as u32;
            at += ctx.guard.shown(c).len_utf8();
        }
        places[at] = text.text.len() as u32;
        Ok(Self { shown, places: Some(places) })
    }

    fn place(&self, at: usize) -> usize {
        self.places.as_ref().map_or(at, |places| places[at] as usize)
    }

    /// The text that is shown.
    pub(super) fn shown(&self) -> &str {
        &self.shown
    }

    /// The first place of `needle` behind `from`, both as shown.
    pub(super) fn find(&self, ctx: &Ctx, needle: &str, from: usize) -> Run<Option<usize>> {
        let found = self.shown[from..].find(needle).map(|at| from + at);
        let passed = found.unwrap_or(self.shown.len()) - from + needle.len();
        ctx.budget.reads(passed)?;
        Ok(found)
    }

    /// The last place of `needle` ahead of `until`, both as shown.
    pub(super) fn find_last(&self, ctx: &Ctx, needle: &str, until: usize) -> Run<Option<usize>> {
        let found = self.shown[..until].rfind(needle);
        ctx.budget.reads(until - found.unwrap_or(0) + needle.len())?;
        Ok(found)
    }

    /// The range in the text as it is of a range as shown.
    pub(super) fn range(&self, at: usize, length: usize) -> Range<usize> {
        self.place(at)..self.place(at + length)
    }
}

/// Whether `needle` is in `hay`.
pub(super) fn contains(ctx: &Ctx, hay: &Text, needle: &Text) -> Run<bool> {
    let needle_shown = ctx.shown(needle)?;
    let hay = Haystack::new(ctx, hay, needle)?;
    Ok(hay.find(ctx, &needle_shown, 0)?.is_some())
}

/// All places of `needle`, which is not empty, from the left, at most `most`; each given to `found`.
pub(super) fn each(
    ctx: &Ctx,
    hay: &Text,
    needle: &Text,
    most: usize,
    mut found: impl FnMut(Range<usize>) -> Run<()>,
) -> Run<()> {
    let needle_shown = ctx.shown(needle)?;
    let hay = Haystack::new(ctx, hay, needle)?;
    let mut from = 0;
    for _ in 0..most {
        let Some(at) = hay.find(ctx, &needle_shown, from)? else { break };
        found(hay.range(at, needle_shown.len()))?;
        from = at + needle_shown.len();
    }
    Ok(())
}

/// The same from the right.
pub(super) fn each_from_right(
    ctx: &Ctx,
    hay: &Text,
    needle: &Text,
    most: usize,
    mut found: impl FnMut(Range<usize>) -> Run<()>,
) -> Run<()> {
    let needle_shown = ctx.shown(needle)?;
    let hay = Haystack::new(ctx, hay, needle)?;
    let mut until = hay.shown().len();
    for _ in 0..most {
        let Some(at) = hay.find_last(ctx, &needle_shown, until)? else { break };
        found(hay.range(at, needle_shown.len()))?;
        until = at;
    }
    Ok(())
}

/// Whether `hay` begins with `needle`, and the bytes of `hay` that it takes.
pub(super) fn prefix(ctx: &Ctx, hay: &str, needle: &Text) -> Run<Option<usize>> {
    ctx.budget.reads(needle.text.len())?;
    let mut chars = hay.char_indices();
    for c in needle.text.chars() {
        match chars.next() {
            Some((_, found)) if ctx.guard.shown(found) == ctx.guard.shown(c) => {}
            _ => return Ok(None),
        }
    }
    Ok(Some(chars.offset()))
}

/// Whether `hay` ends with `needle`, and where in `hay` it begins.
pub(super) fn suffix(ctx: &Ctx, hay: &str, needle: &Text) -> Run<Option<usize>> {
    ctx.budget.reads(needle.text.len())?;
    let mut chars = hay.char_indices().rev();
    let mut at = hay.len();
    for c in needle.text.chars().rev() {
        match chars.next() {
            Some((place, found)) if ctx.guard.shown(found) == ctx.guard.shown(c) => at = place,
            _ => return Ok(None),
        }
    }
    Ok(Some(at))
}
