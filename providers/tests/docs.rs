//! `docs/providers.md` is what the definitions print. In: the built-in definitions, the file. With `BLESS=1` it is written.

use std::path::Path;

use tidegate_providers::{Catalogue, docs};

#[test]
fn the_providers_page_is_what_the_definitions_print() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/providers.md");
    let printed = docs::markdown(&Catalogue::builtin().expect("the built-in definitions compile"));
    if std::env::var_os("BLESS").is_some() {
        std::fs::create_dir_all(page.parent().expect("the docs folder")).expect("it can be made");
        std::fs::write(&page, &printed).expect("it can be written");
    }
    let written = std::fs::read_to_string(&page).unwrap_or_default();
    assert!(
        written == printed,
        "docs/providers.md is not what the definitions print: BLESS=1 cargo test -p tidegate-providers --test docs"
    );
}
