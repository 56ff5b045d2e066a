//! Definition files that are wrong: each is refused with its file, the key by its whole path, and how to mend it. And what
//! is printed of those that are right.

use std::fs;

use tidegate_providers::{Catalogue, Definition, check_file, docs};

const RIGHT: &str = "name = \"acme\"\ntitle = \"Acme\"\n[[verify]]\nscheme = \"none\"\n";

#[track_caller]
fn check(text: &str, key: &str, problem: &str) {
    let error = Definition::from_toml("acme", text).expect_err(text);
    assert_eq!(error.key, key, "{error}");
    assert!(error.problem.contains(problem), "{error}");
    assert!(error.to_string().starts_with("acme.toml: "), "{error}");
}

/// Whole files: text, key, a part of the problem.
const WHOLE: &[(&str, &str, &str)] = &[
    ("name = ", "", "TOML parse error"),
    (
        "name = \"other\"\ntitle = \"x\"",
        "name",
        "must be the file's name",
    ),
    (
        "name = \"acme\"\n[[verify]]\nscheme = \"none\"",
        "title",
        "required",
    ),
    (
        "name = \"acme\"\ntitle = \"Acme\"",
        "verify",
        "at least one [[verify]]",
    ),
];

/// What is added to a right file.
const TABLES: &[(&str, &str, &str)] = &[
    ("[event]\nkind = \"x\"", "event.kind", "no such key"),
    ("[evnt]", "evnt", "no such key"),
    ("[event]\ntype = \"{body:a..b}\"", "event.type", "empty name"),
    ("[event]\ntype = \"{body:a\"", "event.type", "lacks a `}`"),
    ("[event]\ntype = [\"{x}\"]", "event.type", "no source `x`"),
    (
        "[event]\ntype = { value = \"a\", wen = {} }",
        "event.type.wen",
        "no such key",
    ),
    (
        "[event]\ntime = \"{body:t}\"",
        "event.time_format",
        "needs its format",
    ),
    ("[event]\neach = \"body:rows\"", "event.each", "marks no array"),
    (
        "[event]\neach = \"rows[]\"",
        "event.each",
        "must begin with `body:`",
    ),
    ("[event]\ndrop = {}", "event.drop", "always holds"),
    ("[[identify]]\nproperty = \"x\"", "identify[0].value", "required"),
    (
        "[[identify]]\nproperty = \"x\"\nvalue = \"{event:x}\"\nrequired = true",
        "identify[0].required",
        "no elements",
    ),
    (
        "[[object]]\nkey = \"{body:a}\"\nversion = \"{body:b}\"",
        "object[0].version_kind",
        "needs its kind",
    ),
    (
        "[[object]]\nkey = \"{body:a}\"\ncontent = \"header:x\"",
        "object[0].content",
        "plain value",
    ),
    ("[[reply]]\ntext = \"a\"\njson = {}", "reply[0].text", "not both"),
    ("[[reply]]\nstatus = 99", "reply[0].status", "200 to 599"),
    (
        "[[handshake]]\ncall = { url = \"{body:u}\" }",
        "handshake[0].call.hosts",
        "closed list",
    ),
    (
        "[route]\nvalue = \"{header:x}\"",
        "route",
        "exactly one [[identify]]",
    ),
    (
        "[route]\nvalue = \"{header:x}\"\n[[identify]]\nproperty = \"p\"\nvalue = \"{header:y}\"",
        "route.value",
        "first [[identify]]",
    ),
    (
        "[body]\ndocument = [\"body:a\"]",
        "body.document",
        "only the raw `body`",
    ),
    (
        "[[verify]]\nscheme = \"token\"\ntoken = \"header:x\"",
        "verify",
        "only be the last",
    ),
    ("secret_at = \"here\"", "verify[0].secret_at", "no such key"),
    (
        "[redact]\npaths = [\"body\"]",
        "redact.paths",
        "where it can be masked",
    ),
];

/// The only `[[verify]]` block of a file.
const SCHEMES: &[(&str, &str, &str)] = &[
    ("scheme = \"magic\"", "verify[0].scheme", "no scheme `magic`"),
    ("scheme = \"hmac\"", "verify[0].signature", "required"),
    (
        "scheme = \"hmac\"\nsignature = \"header:x\"\nhash = \"md5\"",
        "verify[0].hash",
        "none of the words",
    ),
    (
        "scheme = \"hmac\"\nsignature = \"header:x\"\ntolerance = 5",
        "verify[0].tolerance",
        "no timestamp",
    ),
    (
        "scheme = \"hmac\"\nsignature = \"event:x\"",
        "verify[0].signature",
        "cannot be picked",
    ),
    (
        "scheme = \"digest\"\nsignature = \"header:x\"",
        "verify[0].signed",
        "`{secret}` is in it",
    ),
    (
        "scheme = \"jwt\"\ntoken = \"header:x\"\nalgorithms = [\"HS256\", \"RS256\"]",
        "verify[0].algorithms",
        "one kind",
    ),
    (
        "scheme = \"jwt\"\ntoken = \"header:x\"\nalgorithms = [\"HS256\"]\nkey = { jwks = \"https://a.test/\" }",
        "verify[0].algorithms",
        "one kind",
    ),
    (
        "scheme = \"jwt\"\ntoken = \"header:x\"\nalgorithms = [\"RS256\"]\nkey = { jwks = \"{header:u}\" }",
        "verify[0].key.jwks",
        "only constants",
    ),
    (
        "scheme = \"public-key\"\nsignature = \"header:x\"\nalgorithm = \"ed25519\"\nkey = { constant = \"x\" }",
        "verify[0].key.constant",
        "no public key",
    ),
    (
        "scheme = \"token\"\ntoken = \"cfg:x\"",
        "verify[0].token",
        "not declared",
    ),
    (
        "scheme = \"token\"\ntoken = \"path:3\"",
        "verify[0].token",
        "where it can be masked",
    ),
];

#[test]
fn every_wrong_key_is_named() {
    let files = WHOLE
        .iter()
        .map(|(text, key, problem)| ((*text).to_owned(), key, problem));
    let tables = TABLES
        .iter()
        .map(|(text, key, problem)| (format!("{RIGHT}{text}"), key, problem));
    let head = "name = \"acme\"\ntitle = \"Acme\"\n[[verify]]\n";
    let schemes = SCHEMES
        .iter()
        .map(|(text, key, problem)| (format!("{head}{text}"), key, problem));
    for (text, key, problem) in files.chain(tables).chain(schemes) {
        check(&text, key, problem);
    }
}

#[test]
fn a_users_folder_overlays_the_built_in_ones() {
    let folder = std::env::temp_dir().join(format!("tidegate-definitions-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(folder.join("acme.toml"), RIGHT).expect("a file");
    let builtin = Catalogue::builtin().expect("the built-in definitions compile");
    let overlaid = Catalogue::with_overlay(&folder).expect("the folder's compile too");
    assert_eq!(overlaid.names().count(), builtin.names().count() + 1);
    assert_eq!(
        overlaid
            .get("acme")
            .map(|acme| acme.title().to_owned())
            .as_deref(),
        Some("Acme")
    );

    fs::write(folder.join("broken.toml"), "name = \"broken\"").expect("a file");
    let error = check_file(&folder.join("broken.toml")).expect_err("title is missing");
    assert!(
        error.file.ends_with("broken.toml") && error.key == "title",
        "{error}"
    );
    assert!(Catalogue::with_overlay(&folder).is_err());
    fs::remove_dir_all(&folder).expect("the folder goes");
    assert!(Catalogue::with_overlay(&folder).is_err());
}

#[test]
fn definitions_are_listed_and_shown() {
    let catalogue = Catalogue::builtin().expect("the built-in definitions compile");
    let (list, page) = (docs::list(&catalogue), docs::markdown(&catalogue));
    assert_eq!(list.lines().count(), catalogue.names().count());
    for definition in catalogue.definitions() {
        let name = definition.name();
        assert!(
            list.contains(name) && page.contains(&format!("(#{name})")),
            "{name}"
        );
        let shown = docs::show(definition);
        assert!(
            shown.contains(definition.title()) && shown.contains("[[verify]]"),
            "{shown}"
        );
    }
}
