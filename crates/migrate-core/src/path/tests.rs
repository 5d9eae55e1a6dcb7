use super::*;

fn version(text: &str) -> Version {
    text.parse().unwrap()
}

fn edge(from: &str, to: &str) -> PlanEdge {
    PlanEdge {
        from: from.parse().unwrap(),
        to: version(to),
        name: format!("{from}_{to}"),
        withdrawn: None,
        mandatory_stop: false,
    }
}

fn graph(edges: &[(&str, &str)]) -> VersionGraph {
    VersionGraph::new(edges.iter().map(|(from, to)| edge(from, to)))
}

#[track_caller]
fn check(graph: &VersionGraph, from: &str, to: &str, expect: &[&str]) {
    let path = graph.path(&version(from), &version(to)).unwrap();
    let names: Vec<_> = path.iter().map(|hop| hop.edge.name.as_str()).collect();
    assert_eq!(names, expect, "{from} -> {to}");
    let mut at = version(from);
    for hop in path {
        assert_eq!(hop.from, at, "a chain has no gaps");
        at = hop.edge.to;
    }
    assert_eq!(at, version(to));
}

#[track_caller]
fn refused(graph: &VersionGraph, from: &str, to: &str, words: &[&str]) {
    let error = graph.path(&version(from), &version(to)).unwrap_err();
    let text = error.to_string();
    for word in words {
        assert!(text.contains(word), "{word:?} in {text}");
    }
}

#[test]
fn prefers_one_plan_over_a_chain() {
    let graph = graph(&[
        ("1.0.0", "1.5.0"),
        ("1.5.0", "2.0.0"),
        ("1.0.0", "2.0.0"),
        ("2.0.0", "2.1.0"),
    ]);
    check(&graph, "1.0.0", "2.0.0", &["1.0.0_2.0.0"]);
    check(&graph, "1.5.0", "2.1.0", &["1.5.0_2.0.0", "2.0.0_2.1.0"]);
    check(&graph, "1.5.0", "1.5.0", &[]);
}

#[test]
fn says_what_exists_and_what_is_nearest() {
    let two = graph(&[("1.1.0", "1.2.0"), ("1.5.0", "2.0.0")]);
    refused(
        &two,
        "1.4.0",
        "2.0.0",
        &[
            "1.1.0 -> 1.2.0, 1.5.0 -> 2.0.0",
            "nearest: --from 1.5.0 --to 2.0.0",
        ],
    );
    let chain = graph(&[("1.5.0", "2.0.0"), ("2.0.0", "2.1.0")]);
    refused(
        &chain,
        "1.5.0",
        "2.1.7",
        &[
            "from 1.5.0 there is a way to: 2.0.0, 2.1.0",
            "nearest: --from 1.5.0 --to 2.1.0",
        ],
    );
    refused(&graph(&[]), "1.0.0", "2.0.0", &["no plans at all"]);
}

#[test]
fn circles_end() {
    let graph = graph(&[("1.0.0", "2.0.0"), ("2.0.0", "1.0.0")]);
    refused(&graph, "1.0.0", "3.0.0", &["no plan leads"]);
}

#[test]
fn ranges_start_at_each_of_their_versions() {
    let graph = graph(&[
        ("1.5.x", "1.5.9"),
        ("1.x", "2.0.0"),
        ("1.5.0", "2.0.0"),
        ("1.4.0", "1.5.2"),
    ]);
    check(&graph, "1.5.3", "1.5.9", &["1.5.x_1.5.9"]);
    check(&graph, "1.5.3", "2.0.0", &["1.x_2.0.0"]);
    // The plan that names the version goes before the range.
    check(&graph, "1.5.0", "2.0.0", &["1.5.0_2.0.0"]);
    check(&graph, "1.4.0", "1.5.9", &["1.4.0_1.5.2", "1.5.x_1.5.9"]);
    // A range does not lead down to its own target.
    refused(&graph, "1.5.10", "1.5.9", &["no plan leads"]);
    refused(&graph, "1.5.3-rc.1", "2.0.0", &["no plan leads"]);
}

#[test]
fn withdrawn_plans_are_gone_round() {
    let mut bad = edge("1.5.0", "2.1.0");
    bad.withdrawn = Some("it loses time zones".to_owned());
    let edges = [bad, edge("1.5.0", "2.0.0"), edge("2.0.0", "2.1.0")];
    let graph = VersionGraph::new(edges.clone());
    check(&graph, "1.5.0", "2.1.0", &["1.5.0_2.0.0", "2.0.0_2.1.0"]);
    assert!(graph.edge(&version("1.5.0"), &version("2.1.0")).is_some());
    let [bad, ..] = edges;
    refused(
        &VersionGraph::new([bad]),
        "1.5.0",
        "2.1.0",
        &[
            "1.5.0 -> 2.1.0 is withdrawn: it loses time zones",
            "(withdrawn)",
        ],
    );
}

#[test]
fn mandatory_stops_are_not_passed_over() {
    let mut stop = edge("2.0.0", "2.1.0");
    stop.mandatory_stop = true;
    let edges = [
        edge("1.5.0", "2.0.0"),
        edge("1.5.0", "3.0.0"),
        edge("2.1.0", "3.0.0"),
        edge("3.0.0", "1.5.0"),
    ];
    let barred = VersionGraph::new(edges.iter().skip(1).cloned().chain([stop.clone()]));
    let graph = VersionGraph::new(edges.iter().cloned().chain([stop]));
    check(
        &graph,
        "1.5.0",
        "3.0.0",
        &["1.5.0_2.0.0", "2.0.0_2.1.0", "2.1.0_3.0.0"],
    );
    // Down is no upgrade that could miss something.
    check(&graph, "3.0.0", "1.5.0", &["3.0.0_1.5.0"]);
    refused(
        &barred,
        "1.5.0",
        "3.0.0",
        &["1.5.0 -> 3.0.0 passes over 2.1.0, a mandatory stop"],
    );
    assert!(
        graph
            .reachable(&version("2.0.0"))
            .contains(&version("3.0.0"))
    );
}
