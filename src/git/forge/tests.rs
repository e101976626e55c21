//! Where calls go, and what becomes of names. The wire formats themselves are tried in `tests/forge`.

use super::*;

fn forge(url: &str, given: Option<PullRequestProvider>) -> Result<Forge, ForgeError> {
    Forge::of(&GitUrl::parse(url).unwrap(), given)
}

#[test]
fn a_well_known_host_says_which_forge_it_is_and_where_its_api() {
    let place = |url: &str| forge(url, None).map(|forge| forge.get(7).url);
    for (url, api) in [
        ("https://github.com/shop/env.git", "https://api.github.com/repos/shop/env/pulls/7"),
        ("git@github.com:shop/env.git", "https://api.github.com/repos/shop/env/pulls/7"),
        (
            "ssh://git@github.example.test:2222/shop/env",
            "https://github.example.test/api/v3/repos/shop/env/pulls/7",
        ),
        (
            "https://gitlab.com/group/sub/env",
            "https://gitlab.com/api/v4/projects/group%2Fsub%2Fenv/merge_requests/7",
        ),
        (
            "https://gitlab.example.test:8443/group/env.git",
            "https://gitlab.example.test:8443/api/v4/projects/group%2Fenv/merge_requests/7",
        ),
        ("https://codeberg.org/shop/env", "https://codeberg.org/api/v1/repos/shop/env/pulls/7"),
    ] {
        assert_eq!(place(url).as_deref(), Ok(api));
    }
    assert!(matches!(place("https://git.example.test/a/b"), Err(ForgeError::UnknownForge { .. })));
    // Somebody else's host does not become GitHub by its name.
    assert!(matches!(place("https://notgithub.com/a/b"), Err(ForgeError::UnknownForge { .. })));
}

#[test]
fn a_path_that_is_no_repository_of_the_forge_is_refused() {
    for (url, given) in [
        ("https://git.example.test/env.git", PullRequestProvider::GitHub),
        ("https://git.example.test/a/b/c", PullRequestProvider::Gitea),
        ("https://git.example.test/env", PullRequestProvider::GitLab),
    ] {
        assert!(matches!(forge(url, Some(given)), Err(ForgeError::BadPath { .. })), "{url}");
    }
    let odd = forge("https://git.example.test/a%2Fx/b+c", Some(PullRequestProvider::Gitea));
    assert_eq!(
        odd.unwrap().get(1).url,
        "https://git.example.test/api/v1/repos/a%252Fx/b%2Bc/pulls/1"
    );
}

#[test]
fn a_page_that_is_no_link_of_https_is_never_shown() {
    let github = forge("https://github.com/shop/env", None).unwrap();
    for page in ["javascript:alert(1)", "http://x", "https://x y", ""] {
        let body = serde_json::json!({
            "number": 1, "state": "open", "html_url": page, "head": {"ref": "a"}, "base": {"ref": "b"},
        });
        let answer = Answer { status: 200, body: body.to_string().into(), is_exhausted: false };
        assert!(github.read_one(&answer, "read").is_err(), "{page}");
    }
}

proptest::proptest! {
    #[test]
    fn no_answer_makes_reading_fail_otherwise_than_with_an_error(body: Vec<u8>, status in 100_u16..600) {
        let github = forge("https://github.com/shop/env", None).unwrap();
        let answer = Answer { status, body, is_exhausted: false };
        proptest::prop_assert!(github.read_one(&answer, "read").is_err());
    }
}
