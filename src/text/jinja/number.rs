//! Numbers as Python has them: integers of any size, floats spelled by their shortest digits.

use num_bigint::{BigInt, Sign};
use num_integer::Integer;
use num_traits::{FromPrimitive, Signed, ToPrimitive, Zero};
use std::cmp::Ordering;
use std::rc::Rc;

use super::ast::{Binary, Literal};
use super::budget::Budget;
use super::chars::is_space;
use super::fault::{Fault, Run};
use super::value::Value;

/// Digits of an integer that is read or written; Python's own bound.
pub(super) const INT_DIGITS: usize = 4300;

/// Bits of the largest integer that arithmetic makes.
const INT_BITS: u64 = 1 << 20;

/// An integer in its one form: small where it fits.
pub(super) fn int(value: BigInt) -> Value {
    Literal::int(value).into()
}

/// A number for arithmetic.
pub(super) enum Number {
    Int(i64),
    Big(Rc<BigInt>),
    Float(f64),
}

impl Number {
    /// The number that a value is in arithmetic; truths are 0 and 1.
    pub(super) fn of(value: &Value) -> Option<Self> {
        Some(match value {
            Value::Bool(b) => Number::Int(i64::from(*b)),
            Value::Int(n) => Number::Int(*n),
            Value::Big(n) => Number::Big(Rc::clone(n)),
            Value::Float(n) => Number::Float(*n),
            _ => return None,
        })
    }

    pub(super) fn big(&self) -> Option<BigInt> {
        match self {
            Number::Int(n) => Some(BigInt::from(*n)),
            Number::Big(n) => Some((**n).clone()),
            Number::Float(_) => None,
        }
    }

    pub(super) fn float(&self) -> Run<f64> {
        let float = match self {
            Number::Int(n) => *n as f64,
            Number::Big(n) => n.to_f64().unwrap_or(f64::INFINITY),
            Number::Float(n) => return Ok(*n),
        };
        if float.is_infinite() { Err(Fault::failed("int too large to convert to float")) } else { Ok(float) }
    }

    fn is_zero(&self) -> bool {
        match self {
            Number::Int(n) => *n == 0,
            Number::Big(_) => false,
            Number::Float(n) => *n == 0.0,
        }
    }

    fn bits(&self) -> u64 {
        match self {
            Number::Big(n) => n.bits(),
            _ => 64,
        }
    }
}

/// An integer as one of any size.
pub(super) fn big(value: &Value) -> Option<BigInt> {
    Number::of(value)?.big()
}

/// Compares by value, integers with floats exactly; nothing for NaN.
pub(super) fn order(a: &Number, b: &Number) -> Option<Ordering> {
    match (a, b) {
        (Number::Int(a), Number::Int(b)) => Some(a.cmp(b)),
        (Number::Float(a), Number::Float(b)) => a.partial_cmp(b),
        (Number::Float(a), b) => order_int(b, *a).map(Ordering::reverse),
        (a, Number::Float(b)) => order_int(a, *b),
        (a, b) => a.big().partial_cmp(&b.big()),
    }
}

fn order_int(int: &Number, float: f64) -> Option<Ordering> {
    if float.is_nan() {
        return None;
    }
    if float.is_infinite() {
        return Some(if float > 0.0 { Ordering::Less } else { Ordering::Greater });
    }
    let whole = BigInt::from_f64(float.trunc())?;
    Some(int.big()?.cmp(&whole).then_with(|| 0.0.partial_cmp(&float.fract()).unwrap_or(Ordering::Equal)))
}

/// Arithmetic on two numbers.
pub(super) fn binary(budget: &Budget, op: Binary, a: &Number, b: &Number) -> Run<Value> {
    if let (Number::Int(x), Number::Int(y)) = (a, b)
        && let Some(value) = small(op, *x, *y)
    {
        return Ok(Value::Int(value));
    }
    let work = match op {
        Binary::Pow => 1,
        _ => (a.bits() / 64).saturating_mul(b.bits() / 64) / 4,
    };
    budget.steps(usize::try_from(1 + work).unwrap_or(usize::MAX))?;
    if b.is_zero() && matches!(op, Binary::Div | Binary::FloorDiv | Binary::Mod) {
        return Err(Fault::failed("division by zero"));
    }
    match (a.big(), b.big()) {
        (Some(x), Some(y)) => integers(budget, op, &x, &y),
        _ => floats(op, a.float()?, b.float()?).map(Value::Float),
    }
}

/// The common cases, where the result is a small integer too.
fn small(op: Binary, a: i64, b: i64) -> Option<i64> {
    match op {
        Binary::Add => a.checked_add(b),
        Binary::Sub => a.checked_sub(b),
        Binary::Mul => a.checked_mul(b),
        Binary::FloorDiv if b != 0 && (a, b) != (i64::MIN, -1) => Some(Integer::div_floor(&a, &b)),
        Binary::Mod if b != 0 && b != -1 => Some(Integer::mod_floor(&a, &b)),
        _ => None,
    }
}

fn integers(budget: &Budget, op: Binary, a: &BigInt, b: &BigInt) -> Run<Value> {
    let value = match op {
        Binary::Add => a + b,
        Binary::Sub => a - b,
        Binary::Mul if a.bits() + b.bits() > INT_BITS => return Err(Fault::Bytes),
        Binary::Mul => a * b,
        Binary::FloorDiv => a.div_floor(b),
        Binary::Mod => a.mod_floor(b),
        Binary::Div => return true_division(a, b).map(Value::Float),
        Binary::Pow if b.is_negative() => {
            let (a, b) = (Number::Big(Rc::new(a.clone())), Number::Big(Rc::new(b.clone())));
            return floats(op, a.float()?, b.float()?).map(Value::Float);
        }
        Binary::Pow => return power(budget, a, b),
    };
    Ok(int(value))
}

fn power(budget: &Budget, a: &BigInt, b: &BigInt) -> Run<Value> {
    if a.is_zero() || a.magnitude().bits() == 1 {
        let odd = b.is_odd();
        let value = match (a.sign(), b.is_zero()) {
            (_, true) => 1,
            (Sign::NoSign, false) => 0,
            (Sign::Minus, false) if odd => -1,
            _ => 1,
        };
        return Ok(Value::Int(value));
    }
    let exponent = b.to_u32().filter(|exponent| a.bits().saturating_mul(u64::from(*exponent)) <= INT_BITS);
    let exponent = exponent.ok_or(Fault::Bytes)?;
    let words = a.bits() * u64::from(exponent) / 64;
    budget.steps(usize::try_from(1 + words * words / 4).unwrap_or(usize::MAX))?;
    Ok(int(a.pow(exponent)))
}

/// The quotient of two integers, rounded once.
fn true_division(a: &BigInt, b: &BigInt) -> Run<f64> {
    const EXACT: u64 = 53;
    if a.bits() <= EXACT && b.bits() <= EXACT {
        return Ok(a.to_f64().unwrap_or(f64::NAN) / b.to_f64().unwrap_or(f64::NAN));
    }
    // Quotients of at least 64 bits, with what is left over kept in the last one.
    let shift = (66 + b.bits()).saturating_sub(a.bits());
    let (quotient, rest) = (a.magnitude() << shift).div_rem(b.magnitude());
    let mut quotient = BigInt::from(quotient);
    if !rest.is_zero() {
        quotient = (quotient << 1u32) | BigInt::from(1);
    } else {
        quotient <<= 1u32;
    }
    let scale = shift as i64 + 1;
    // The quotient has 66 to 68 bits or as many as `a` has more than `b`.
    let mantissa = quotient.to_f64().unwrap_or(f64::INFINITY);
    let half = i32::try_from(scale / 2).unwrap_or(i32::MAX);
    let rest = i32::try_from(scale - scale / 2).unwrap_or(i32::MAX);
    let value = mantissa * 2f64.powi(-half) * 2f64.powi(-rest);
    if value.is_infinite() {
        return Err(Fault::failed("integer division result too large for a float"));
    }
    Ok(if a.is_negative() == b.is_negative() { value } else { -value })
}

fn floats(op: Binary, a: f64, b: f64) -> Run<f64> {
    let zero = || Err(Fault::failed("float division by zero"));
    Ok(match op {
        Binary::Add => a + b,
        Binary::Sub => a - b,
        Binary::Mul => a * b,
        Binary::Div if b == 0.0 => return zero(),
        Binary::Div => a / b,
        Binary::FloorDiv if b == 0.0 => return zero(),
        Binary::FloorDiv => floor_mod(a, b).0,
        Binary::Mod if b == 0.0 => return zero(),
        Binary::Mod => floor_mod(a, b).1,
        Binary::Pow if a == 0.0 && b < 0.0 => return zero(),
        Binary::Pow if a < 0.0 && a.is_finite() && b.is_finite() && b.fract() != 0.0 => {
            return Err(Fault::Forbidden("found a power that is a complex number, expected a real one".into()));
        }
        Binary::Pow => {
            let value = a.powf(b);
            if value.is_infinite() && a.is_finite() && b.is_finite() {
                return Err(Fault::failed("numerical result out of range"));
            }
            value
        }
    })
}

fn floor_mod(a: f64, b: f64) -> (f64, f64) {
    let mut rest = a % b;
    let mut quotient = (a - rest) / b;
    if rest == 0.0 {
        rest = 0f64.copysign(b);
    } else if (b < 0.0) != (rest < 0.0) {
        rest += b;
        quotient -= 1.0;
    }
    if quotient == 0.0 {
        return (0f64.copysign(a / b), rest);
    }
    let floor = quotient.floor();
    (if quotient - floor > 0.5 { floor + 1.0 } else { floor }, rest)
}

/// `repr` of a float.
pub(super) fn spelled(value: f64) -> String {
    if value.is_nan() {
        return "nan".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf".into() } else { "-inf".into() };
    }
    let shortest = format!("{value:e}");
    let length = shortest.bytes().take_while(|b| *b != b'e').filter(u8::is_ascii_digit).count();
    // Of two spellings that are as short Python takes the nearer one, and the even one of two as near.
    let nearest = format!("{value:.*e}", length - 1);
    let shortest = if nearest.parse() == Ok(value) { nearest } else { shortest };
    let (mantissa, exponent) = shortest.split_once('e').unwrap_or((&shortest, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if !(-4..16).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{mantissa}e{sign}{:02}", exponent.abs());
    }
    let (sign, digits) = match mantissa.strip_prefix('-') {
        Some(digits) => ("-", digits.replace('.', "")),
        None => ("", mantissa.replace('.', "")),
    };
    if exponent < 0 {
        return format!("{sign}0.{}{digits}", "0".repeat(exponent.unsigned_abs() as usize - 1));
    }
    let whole = exponent as usize + 1;
    if digits.len() <= whole {
        return format!("{sign}{digits:0<whole$}.0");
    }
    format!("{sign}{}.{}", &digits[..whole], &digits[whole..])
}

/// The decimal digits of an integer.
///
/// # Errors
/// Python writes no more than 4300 digits.
pub(super) fn digits(value: &BigInt) -> Run<String> {
    if value.bits() > INT_DIGITS as u64 * 10 / 3 {
        return Err(Fault::failed(format!("found an integer of more than {INT_DIGITS} digits, expected fewer")));
    }
    Ok(value.to_string())
}

/// `int(text, base)`; nothing where Python raises ValueError.
pub(super) fn parse_int(text: &str, base: u32) -> Option<BigInt> {
    let text = text.trim_matches(is_space);
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.get(..2).map(str::to_ascii_lowercase);
    let prefixed = match lower.as_deref() {
        Some("0x") => Some(16),
        Some("0o") => Some(8),
        Some("0b") => Some(2),
        _ => None,
    };
    let (base, digits) = match (base, prefixed) {
        (0, Some(radix)) => (radix, digits[2..].strip_prefix('_').unwrap_or(&digits[2..])),
        (0, None) if digits.starts_with('0') && digits.contains(|c| !matches!(c, '0' | '_')) => return None,
        (0, None) => (10, digits),
        (base, Some(radix)) if base == radix => (base, digits[2..].strip_prefix('_').unwrap_or(&digits[2..])),
        (2..=36, _) => (base, digits),
        _ => return None,
    };
    let mut plain = String::new();
    let mut last = '_';
    for c in digits.chars() {
        match (c, last) {
            ('_', '_') => return None,
            ('_', _) => {}
            (c, _) => plain.push(if c.is_ascii() { c } else { decimal(c)? }),
        }
        last = c;
    }
    if last == '_' || plain.len() > INT_DIGITS || !plain.chars().all(|c| c.is_digit(base)) {
        return None;
    }
    let value = BigInt::parse_bytes(plain.as_bytes(), base)?;
    Some(if negative { -value } else { value })
}

/// The ASCII digit of a decimal digit of another script; they stand in runs of ten.
fn decimal(c: char) -> Option<char> {
    let run = |start: char| u32::from(c).checked_sub(u32::from(start)).filter(|n| *n < 10);
    let starts = "٠۰߀०০੦૦୦௦౦೦൦෦๐໐༠၀႐០᠐᥆᧐᪀᪐᭐᮰᱀᱐꘠꣐꤀꧐꧰꩐꯰０";
    starts.chars().find_map(run).and_then(|n| char::from_digit(n, 10))
}

/// `float(text)`; nothing where Python raises ValueError.
pub(super) fn parse_float(text: &str) -> Option<f64> {
    let text = text.trim_matches(is_space);
    let mut plain = String::with_capacity(text.len().min(1024));
    let bytes = text.as_bytes();
    for (i, c) in text.char_indices() {
        match c {
            '_' => {
                let digit = |b: Option<&u8>| b.is_some_and(u8::is_ascii_digit);
                if i == 0 || !digit(bytes.get(i - 1)) || !digit(bytes.get(i + 1)) {
                    return None;
                }
            }
            c if c.is_ascii() => plain.push(c),
            c => plain.push(decimal(c)?),
        }
    }
    plain.parse().ok()
}

/// `int(float)`.
pub(super) fn truncated(value: f64) -> Run<Value> {
    if value.is_nan() {
        return Err(Fault::failed("cannot convert float NaN to integer"));
    }
    let whole = BigInt::from_f64(value.trunc());
    whole.map(int).ok_or_else(|| Fault::failed("cannot convert float infinity to integer"))
}

/// `round(value, places)` of a float: to the nearest decimal, by the float's exact value.
pub(super) fn rounded(value: f64, places: i64) -> f64 {
    if !value.is_finite() || places > 400 {
        return value;
    }
    if places < -400 {
        return 0f64.copysign(value);
    }
    if places >= 0 {
        return fixed(value, places as usize).parse().unwrap_or(value);
    }
    let Some(whole) = BigInt::from_f64(value.trunc()) else { return value };
    // What is behind the point only decides where the rest is just a half.
    let twice: BigInt = (whole * 2) + i32::from(value.fract() != 0.0) * value.signum() as i32;
    let unit = BigInt::from(10).pow(places.unsigned_abs() as u32) * 2;
    nearest(&twice, &unit).to_f64().map_or(value, |n| (n / 2.0).copysign(value))
}

/// `value` in units of `unit`, halves to even, times `unit`.
pub(super) fn nearest(value: &BigInt, unit: &BigInt) -> BigInt {
    let (mut quotient, rest): (BigInt, BigInt) = value.div_mod_floor(unit);
    let twice: BigInt = rest * 2;
    match twice.cmp(unit) {
        Ordering::Greater => quotient += 1,
        Ordering::Equal if quotient.is_odd() => quotient += 1,
        _ => {}
    }
    quotient * unit
}

/// `value` with so many digits behind the point, halves to even.
pub(super) fn fixed(value: f64, places: usize) -> String {
    format!("{value:.places$}")
}
