//! `did you mean …?`: the nearest of the known words.
//! In: a word nobody knows. Out: the end of an error text, which may be empty.

/// Edits that still look like a slip.
const EDITS_MAX: usize = 2;

/// `: did you mean …?` with the nearest of `known`, or `: known are …` when there are few, or nothing.
pub(super) fn suggestion<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.collect();
    let nearest = known
        .iter()
        .map(|candidate| (edits(word, candidate), candidate))
        .min();
    match nearest {
        Some((edits, nearest)) if edits <= EDITS_MAX => format!(": did you mean `{nearest}`?"),
        Some(_) if known.len() <= 20 => format!(": it knows {}", known.join(", ")),
        _ => String::new(),
    }
}

/// How many letters must be inserted, left out, replaced or swapped with the next (Damerau and Levenshtein's distance).
fn edits(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_word() {
        let known = ["url", "types", "integrations"];
        let check = |word: &str, expected: &str| assert_eq!(suggestion(word, known.into_iter()), expected);
        check("integratoins", ": did you mean `integrations`?");
        check("ulr", ": did you mean `url`?");
        check("type", ": did you mean `types`?");
        check("something", ": it knows url, types, integrations");
        assert_eq!(suggestion("x", std::iter::empty()), "");
    }
}
