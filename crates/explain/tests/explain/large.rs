//! Many nodes: groups instead of lines.

use pandaemon_explain::{TableOptions, explain, render};

use crate::sketch::{Sketch, noon};

#[test]
fn five_thousand_nodes_with_equal_reasons_share_lines() {
    let mut sketch = Sketch::default();
    sketch.line("set agent select=disk:ssd cpu=500m");
    for number in 0..5_000 {
        let name = format!("n{number:04}");
        match number {
            0..3 => sketch.line(&format!("node {name} disk=ssd cpu=1")),
            3..10 => sketch.line(&format!("node {name} disk=hdd{number}")),
            _ => {
                sketch.line(&format!("node {name} disk=ssd cpu=1"));
                sketch.line(&format!("pod {name} v1 ready"));
            }
        }
    }
    for node in 0..2 {
        sketch.line(&format!("other n000{node} heavy{node} cpu=80{node}m"));
    }
    let report = explain(&sketch.snapshot(), None).unwrap();
    let text = render(&report, noon(), TableOptions::default());
    let expected = "\
5,000 nodes: 4,990 run, 1 will run, 7 must not, 2 cannot yet

VERDICT      NODES   WHY                                     EXAMPLES
cannot yet   2       cpu is short                            n0000, n0001
will run     1       the controller has not created it yet   n0002
runs         4,990                                           n0010, n0011, n0012, ...
must not     7       node selector wants disk=ssd            n0003, n0004, n0005, ...

--all shows every node
";
    assert_eq!(text, expected);
}
