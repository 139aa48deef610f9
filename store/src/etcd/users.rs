//! etcd's own users: one for a fleet, which may read and write the keys of that fleet and no others. It has no password: whoever
//! has a certificate with its name is that user. Making it twice changes nothing. Used by a person once in the life of a
//! cluster; the store itself never comes here.

use std::time::Duration;

use etcd_client::{Client, ConnectOptions, Error as EtcdError, GetOptions, Permission, UserAddOptions};

use super::options::{self, ConnectError, Credentials, EtcdOptions};
use super::tls;

/// Each call is a write of its own through the cluster.
const CALL_MAX: Duration = Duration::from_secs(5);
/// etcd asks for a user of this name, with the role of this name, before it asks anybody else for one.
const ROOT: &str = "root";
const EXISTS: &str = "already exists";

#[derive(Debug, thiserror::Error)]
pub enum UsersError {
    #[error(transparent)]
    Options(#[from] ConnectError),
    #[error("{doing}: {}", plain(.source))]
    Etcd { doing: String, source: EtcdError },
}

/// etcd's own words, without the name of the layer that brought them.
fn plain(error: &EtcdError) -> String {
    match error {
        EtcdError::GRpcStatus(status) => status.message().trim_start_matches("etcdserver: ").to_owned(),
        other => other.to_string(),
    }
}

/// What shall be there.
#[derive(Clone, Debug)]
pub struct FleetUser {
    /// Of the user and of its role.
    pub name: String,
    /// The keys that it may read and write.
    pub prefix: String,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UsersDone {
    /// It was not there before.
    pub created: bool,
    /// Rights that it has besides, each in words. They were given by somebody else and are left alone.
    pub wider: Vec<String>,
    /// etcd asks everybody for a user from now on.
    pub enabled: bool,
}

/// Makes the fleet's user with its role; with `enable` also etcd's own `root`, and has etcd ask everybody for a user.
///
/// # Errors
/// If etcd cannot be reached, or refuses: once it asks for users, only `root` may do this.
pub async fn init_users(options: &EtcdOptions, user: &FleetUser, enable: bool) -> Result<UsersDone, UsersError> {
    let client = connect(options).await?;
    let mut auth = client.auth_client();
    let name = user.name.as_str();
    quietly(auth.role_add(name).await).at(|| format!("make role {name}"))?;
    let all = Permission::read_write(user.prefix.clone()).with_prefix();
    auth.role_grant_permission(name, all).await.at(|| format!("give role {name} the keys below {}", user.prefix))?;
    let created = add_user(&client, name).await?;
    auth.user_grant_role(name, name).await.at(|| format!("give user {name} its role"))?;
    let wider = wider(&client, user).await?;
    if enable {
        add_user(&client, ROOT).await?;
        quietly(auth.role_add(ROOT).await).at(|| format!("make role {ROOT}"))?;
        auth.user_grant_role(ROOT, ROOT).await.at(|| format!("give user {ROOT} its role"))?;
        auth.auth_enable().await.at(|| "have etcd ask for users".to_owned())?;
    }
    Ok(UsersDone { created, wider, enabled: enable })
}

async fn connect(options: &EtcdOptions) -> Result<Client, UsersError> {
    options::check(options)?;
    let mut how = ConnectOptions::new().with_connect_timeout(CALL_MAX).with_timeout(CALL_MAX);
    if let Some(files) = &options.tls {
        let material = tls::read(files).await.map_err(|why| ConnectError::Tls { why })?;
        how = how.with_tls(material.config());
    }
    if let Some(Credentials { user, password }) = &options.credentials {
        how = how.with_user(user, password);
    }
    let client = Client::connect(&options.endpoints, Some(how)).await.at(|| "connect to etcd".to_owned())?;
    // The library dials with the first call only: one that changes nothing says whether there is anybody.
    let probe = client.kv_client().get("\0", Some(GetOptions::new().with_serializable())).await;
    match probe {
        Err(error) if !matches!(&error, EtcdError::GRpcStatus(s) if s.message().starts_with("etcdserver: ")) => {
            Err(UsersError::Etcd { doing: format!("reach etcd at {}", options.endpoints.join(", ")), source: error })
        }
        _ => Ok(client),
    }
}

/// `true`: it was not there before.
async fn add_user(client: &Client, name: &str) -> Result<bool, UsersError> {
    let without_password = Some(UserAddOptions::new().with_no_pwd());
    match client.auth_client().user_add(name, "", without_password).await {
        Ok(_) => Ok(true),
        Err(error) if is_there(&error) => Ok(false),
        other => other.map(|_| true).at(|| format!("make user {name}")),
    }
}

async fn wider(client: &Client, user: &FleetUser) -> Result<Vec<String>, UsersError> {
    let mut auth = client.auth_client();
    let found = auth.user_get(user.name.as_str()).await.at(|| format!("look at user {}", user.name))?;
    let others = found.roles().iter().filter(|role| **role != user.name);
    let mut wider: Vec<String> = others.map(|role| format!("the role {role}")).collect();
    let role = auth.role_get(user.name.as_str()).await.at(|| format!("look at role {}", user.name))?;
    let end = after(&user.prefix);
    for permission in role.permissions() {
        if permission.key() != user.prefix.as_bytes() || permission.range_end() != end {
            wider.push(format!("the keys from {}", String::from_utf8_lossy(permission.key())));
        }
    }
    Ok(wider)
}

/// The first key behind all that begin with `prefix`.
fn after(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    if let Some(last) = end.last_mut() {
        // Text never ends in 255.
        *last = last.saturating_add(1);
    }
    end
}

fn is_there(error: &EtcdError) -> bool {
    matches!(error, EtcdError::GRpcStatus(status) if status.message().contains(EXISTS))
}

/// What is there already is as good as made.
fn quietly<T>(made: Result<T, EtcdError>) -> Result<(), EtcdError> {
    match made {
        Err(error) if !is_there(&error) => Err(error),
        _ => Ok(()),
    }
}

trait At<T> {
    fn at(self, doing: impl FnOnce() -> String) -> Result<T, UsersError>;
}

impl<T> At<T> for Result<T, EtcdError> {
    fn at(self, doing: impl FnOnce() -> String) -> Result<T, UsersError> {
        self.map_err(|source| UsersError::Etcd { doing: doing(), source })
    }
}
