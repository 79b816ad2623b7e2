//! The API server's own rate: pods created by plain parallel requests, without a controller.

use std::time::Duration;

use anyhow::Result;
use futures::{StreamExt as _, stream::FuturesUnordered};
use http::Method;
use pandaemon_client::{errors, rest::JSON};
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::{
    cluster::{Cluster, unscheduled_pod},
    report::{Ceiling, Level},
};

/// Requests under way at the same time.
const LEVELS: [usize; 5] = [8, 16, 32, 64, 128];

/// Measures all levels in a namespace of its own. `step` is called with the number of finished
/// levels.
pub(super) async fn measure(
    cluster: &Cluster,
    span: Duration,
    step: impl Fn(usize),
) -> Result<Ceiling> {
    let scratch = Cluster {
        rest: cluster.rest.clone(),
        namespace: format!("{}-ceiling", cluster.namespace),
    };
    scratch.create_namespace().await?;
    let measured = levels(&scratch, span, step).await;
    scratch.delete_namespace().await?;
    let levels = measured?;
    let best = levels
        .iter()
        .max_by(|a, b| a.pods_per_second.total_cmp(&b.pods_per_second));
    let (pods_per_second, parallel) =
        best.map_or((0.0, 0), |best| (best.pods_per_second, best.parallel));
    Ok(Ceiling {
        pods_per_second,
        parallel,
        levels,
    })
}

async fn levels(scratch: &Cluster, span: Duration, step: impl Fn(usize)) -> Result<Vec<Level>> {
    let body = serde_json::to_vec(&unscheduled_pod())?;
    first(scratch, &body).await?;
    let mut levels = Vec::new();
    for parallel in LEVELS {
        let pods_per_second = level(scratch, &body, span, parallel).await?;
        levels.push(Level {
            parallel,
            pods_per_second,
        });
        step(levels.len());
        let pods = scratch.path("/api/v1", "pods");
        scratch
            .delete(&pods, &json!({"gracePeriodSeconds": 0}))
            .await?;
        // The work that follows the deletion must not be measured with the next level.
        sleep(Duration::from_millis(500)).await;
    }
    Ok(levels)
}

/// Creates a pod, again until the server admits it: it may wait for the service account's token.
async fn first(scratch: &Cluster, body: &[u8]) -> Result<()> {
    let pods = scratch.path("/api/v1", "pods");
    loop {
        let post = scratch
            .rest
            .send_only(Method::POST, &pods, JSON, body.to_vec());
        match post.await {
            Err(error) if errors::is_transient(&error) => sleep(Duration::from_millis(50)).await,
            answer => return Ok(answer?),
        }
    }
}

async fn level(scratch: &Cluster, body: &[u8], span: Duration, parallel: usize) -> Result<f64> {
    let pods = scratch.path("/api/v1", "pods");
    let post = || {
        scratch
            .rest
            .send_only(Method::POST, &pods, JSON, body.to_vec())
    };
    let start = Instant::now();
    let mut under_way: FuturesUnordered<_> = (0..parallel).map(|_| post()).collect();
    let mut created = 0_u32;
    let mut last = start;
    while let Some(answer) = under_way.next().await {
        answer?;
        (created, last) = (created + 1, Instant::now());
        if start.elapsed() < span {
            under_way.push(post());
        }
    }
    Ok(f64::from(created) / last.duration_since(start).as_secs_f64())
}
