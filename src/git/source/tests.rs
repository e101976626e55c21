//! Tests of `source`.

use super::*;
use proptest::prelude::*;

#[test]
fn https_ssh_and_scp_addresses_are_accepted_and_normalised() {
    for (text, normal) in [
        ("https://github.com/acme/env.git", "https://github.com/acme/env.git"),
        ("HTTPS://Git.Example.COM:8443/x", "https://git.example.com:8443/x"),
        ("https://[2001:db8::1]:8443/x.git", "https://[2001:db8::1]:8443/x.git"),
        ("ssh://git@github.com/acme/env.git", "ssh://git@github.com/acme/env.git"),
        ("ssh://git@host.example:2222/x", "ssh://git@host.example:2222/x"),
        ("git@github.com:acme/env.git", "git@github.com:acme/env.git"),
        ("host.example:env.git", "host.example:env.git"),
    ] {
        assert_eq!(GitUrl::parse(text).unwrap().as_str(), normal, "{text}");
    }
}

#[test]
fn other_transports_and_local_paths_are_refused_by_name() {
    for (text, words) in [
        ("http://github.com/x", "`http`"),
        ("file:///etc/passwd", "`file`"),
        ("git://github.com/x", "`git`"),
        ("ftp://github.com/x", "`ftp`"),
        ("ext::sh", "`ext`"),
        ("https::https://x/y", "`https::https`"),
        ("/srv/git/x.git", "local path"),
        ("../x.git", "local path"),
        ("./a:b", "local path"),
        ("x.git", "local path"),
    ] {
        let message = GitUrl::parse(text).unwrap_err().to_string();
        assert!(message.contains(words), "{text}: {message}");
    }
    assert!(GitUrl::parse("ext::sh -c touch% /tmp/x").is_err());
}

#[test]
fn credentials_inside_an_address_are_refused_without_repeating_them() {
    for text in [
        "https://user:hunter2@github.com/x",
        "https://hunter2@github.com/x",
        "ssh://git:hunter2@github.com/x",
    ] {
        let error = GitUrl::parse(text).unwrap_err();
        assert_eq!(error, InvalidSource::UserInfo);
        assert!(!error.to_string().contains("hunter2"));
    }
}

#[test]
fn a_leading_dash_in_user_host_or_path_is_refused() {
    for (text, part) in [
        ("ssh://-oProxyCommand=x/y", "host"),
        ("ssh://-l@host/y", "user"),
        ("-oProxyCommand=x:y", "host"),
        ("https://-x.example/y", "host"),
        ("git@host:-x", "path"),
        ("ssh://host/-x", "path"),
        ("--upload-pack=x", "host"),
    ] {
        assert_eq!(GitUrl::parse(text), Err(InvalidSource::LeadingDash { part }), "{text}");
    }
}

#[test]
fn shell_and_header_characters_never_pass() {
    for text in [
        "https://github.com/x y",
        "https://github.com/x\ny",
        "https://github.com/$(id)",
        "https://github.com/x'y",
        "https://github.com/x?y",
        "https://github.com/a/../b",
        "https://git hub.com/x",
        "https:///x",
        "https://host:0/x",
        "https://host:99999/x",
        "https://host",
        "https://host/",
        "",
    ] {
        assert!(GitUrl::parse(text).is_err(), "{text}");
    }
}

#[test]
fn branch_names_follow_git_and_never_look_like_an_option() {
    for good in ["main", "release/1.2", "feature_x", "ünicode", "a@b", "1"] {
        assert!(BranchName::parse(good).is_ok(), "{good}");
    }
    for bad in [
        "",
        "-x",
        "--force",
        "a..b",
        "a b",
        "a~1",
        "a^",
        "a:b",
        "a?b",
        "a*",
        "a[b",
        "a\\b",
        "/a",
        "a/",
        "a//b",
        ".a",
        "a/.b",
        "a.lock",
        "a.lock/b",
        "a.",
        "@",
        "a@{1}",
        "HEAD",
        "refs/heads/main",
        "a\nb",
        "a\u{7f}",
    ] {
        assert!(BranchName::parse(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn paths_stay_inside_the_repository() {
    assert!(RepoPath::parse(".").unwrap().is_root());
    assert_eq!(RepoPath::parse("./apps/web/").unwrap().as_str(), "apps/web");
    for bad in
        ["/etc", "-x", "a/../b", "..", "a//b", ".git/config", "a/.GIT/x", "a/.git.", "a\\b", "a\0"]
    {
        assert!(RepoPath::parse(bad).is_err(), "{bad:?}");
    }
    let overlay = RepoPath::parse("apps/web/prod").unwrap();
    assert_eq!(overlay.resolve("../../base").unwrap().as_str(), "apps/base");
    assert!(overlay.resolve("../../../..").is_err());
    assert!(overlay.resolve("/etc").is_err());
    assert!(RepoPath::parse("apps/webshop").unwrap().is_within(&RepoPath::parse("apps").unwrap()));
    assert!(
        !RepoPath::parse("apps/webshop").unwrap().is_within(&RepoPath::parse("apps/web").unwrap())
    );
}

#[test]
fn only_listed_hosts_are_allowed() {
    let hosts = AllowedHosts::parse(["*.example.com", "git.local:8443"]).unwrap();
    let check = |text: &str| hosts.check(&GitUrl::parse(text).unwrap()).is_ok();
    assert!(check("https://git.example.com/x"));
    assert!(check("https://a.b.example.com:444/x"));
    assert!(!check("https://example.com/x"));
    assert!(!check("https://evilexample.com/x"));
    assert!(!check("https://git.example.com.evil/x"));
    assert!(check("https://git.local:8443/x"));
    assert!(!check("https://git.local/x"));
    assert!(AllowedHosts::parse(["a b"]).is_err());
    assert!(AllowedHosts::default().check(&GitUrl::parse("git@github.com:a/b").unwrap()).is_ok());
}

#[test]
fn metadata_loopback_and_unspecified_addresses_are_refused() {
    let rule = AddressRule::default();
    for bad in [
        "127.0.0.1",
        "::1",
        "169.254.169.254",
        "fe80::1",
        "0.0.0.0",
        "::",
        "::ffff:127.0.0.1",
        "224.0.0.1",
        "255.255.255.255",
    ] {
        assert!(rule.refusal(bad.parse().unwrap()).is_some(), "{bad}");
    }
    for good in ["10.0.0.1", "140.82.121.4", "2001:db8::1", "fd00::1"] {
        assert!(rule.refusal(good.parse().unwrap()).is_none(), "{good}");
    }
    let loopback = AddressRule { permit_loopback: true };
    assert!(loopback.refusal("127.0.0.1".parse().unwrap()).is_none());
    assert!(loopback.refusal("169.254.169.254".parse().unwrap()).is_some());
}

proptest! {
    #[test]
    fn an_accepted_address_is_stable_and_has_no_option_or_control_characters(text in "\\PC{0,60}") {
        if let Ok(url) = GitUrl::parse(&text) {
            prop_assert_eq!(&GitUrl::parse(url.as_str()).unwrap(), &url);
            prop_assert!(!url.as_str().starts_with('-'));
            prop_assert!(!url.host().starts_with('-'));
            prop_assert!(!url.as_str().chars().any(|c| c.is_control() || " '\"\\$;?#".contains(c)));
        }
    }

    #[test]
    fn a_resolved_path_never_leaves_the_repository(base in "[a-z]{1,3}(/[a-z]{1,3}){0,3}", rel in "(\\.\\./|[a-z]/|\\./|/){0,6}[a-z]?") {
        let base = RepoPath::parse(&base).unwrap();
        if let Ok(path) = base.resolve(&rel) {
            prop_assert!(!path.as_str().contains(".."));
            prop_assert!(!path.as_str().starts_with('/'));
        }
    }
}
