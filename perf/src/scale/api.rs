use super::objects::{NAMESPACE, Size};
use anyhow::{Context, Result, ensure};
use futures_util::stream::{self, TryStreamExt};
use k8s_openapi::api::core::v1::{Namespace, Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use sluice_control::object::Object;
use std::path::Path;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// Requests at once.
const AT_ONCE: usize = 64;

/// A client by a kubeconfig.
///
/// # Errors
/// When it cannot be used.
pub async fn client(kubeconfig: &Path) -> Result<Client> {
    let kubeconfig = Kubeconfig::read_from(kubeconfig)?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

/// Creates everything, as fast as the server takes it.
///
/// # Errors
/// What the server refuses.
pub async fn create(client: &Client, size: &Size) -> Result<()> {
    let mut namespace = Namespace::default();
    namespace.metadata.name = Some(NAMESPACE.to_owned());
    let namespaces: Api<Namespace> = Api::all(client.clone());
    namespaces.create(&PostParams::default(), &namespace).await.context("the namespace")?;
    stream::iter(size.objects())
        .try_for_each_concurrent(AT_ONCE, |object| create_one(client.clone(), object))
        .await
}

async fn create_one(client: Client, object: Object) -> Result<()> {
    let key = object.key();
    let params = PostParams::default();
    let created = match object {
        Object::Node(node) => Api::<Node>::all(client).create(&params, &node).await.map(drop),
        Object::Service(mut service) => {
            // Without a selector nobody else makes its slices.
            if let Some(spec) = &mut service.spec {
                spec.selector = None;
            }
            Api::<Service>::namespaced(client, NAMESPACE).create(&params, &service).await.map(drop)
        }
        Object::EndpointSlice(slice) => Api::<EndpointSlice>::namespaced(client, NAMESPACE)
            .create(&params, &slice)
            .await
            .map(drop),
        _ => Ok(()),
    };
    created.with_context(|| format!("{key}"))
}

/// Changes single endpoints, so many a second, each in another Service; returns
/// how many there were.
///
/// # Errors
/// What the server refuses, or when it is too slow.
pub async fn change(client: &Client, size: &Size, rate: u32, time: Duration) -> Result<u32> {
    let slices: Api<EndpointSlice> = Api::namespaced(client.clone(), NAMESPACE);
    let mut ticks = interval(Duration::from_secs(1) / rate);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let begin = Instant::now();
    let (mut count, mut open) = (0, JoinSet::new());
    while begin.elapsed() < time {
        ticks.tick().await;
        open.spawn(change_one(slices.clone(), *size, count));
        count += 1;
        while open.len() >= AT_ONCE {
            open.join_next().await.context("no request")???;
        }
    }
    while let Some(done) = open.join_next().await {
        done??;
    }
    let wanted = f64::from(rate) * time.as_secs_f64();
    ensure!(f64::from(count) >= 0.9 * wanted, "{count} changes instead of {wanted}");
    Ok(count)
}

async fn change_one(slices: Api<EndpointSlice>, size: Size, number: u32) -> Result<()> {
    let Object::EndpointSlice(slice) = size.change(number)? else { return Ok(()) };
    let name = slice.metadata.name.clone().context("a name")?;
    let patch = serde_json::json!({"endpoints": slice.endpoints});
    slices.patch(&name, &PatchParams::default(), &Patch::Merge(&patch)).await?;
    Ok(())
}
