//! What `--help` says beyond the options: examples for each command.

use anstyle::{AnsiColor, Style};
use clap::builder::Styles;

/// Colours of help and errors. clap shows them on a terminal only, and not when `NO_COLOR` is set.
pub(crate) const STYLES: Styles = Styles::styled()
    .header(Style::new().bold())
    .usage(Style::new().bold())
    .literal(AnsiColor::Cyan.on_default())
    .placeholder(AnsiColor::Green.on_default());

pub(crate) const TOP_EXAMPLES: &str = "\
EXAMPLES
  See it work, with sample data and nothing to set up:
    ringfence demo

  Serve, with the control store in a directory:
    RINGFENCE_ADMIN_KEY=abc123 ringfence serve --data-dir ./data

  Make a user and a key while the server runs:
    ringfence admin user create ada --tenant berlin --data-dir ./data
    ringfence admin key create laptop --user ada --data-dir ./data

EXIT CODES
  0  done    1  failed    2  asked wrongly (options or configuration)";

pub(crate) const SERVE: &str = "\
EXAMPLES
  One node on this machine; the first start makes everything in ./data:
    RINGFENCE_ADMIN_KEY=abc123 ringfence serve --data-dir ./data

  For others to reach, with TLS, health checks and metrics:
    ringfence serve --config /etc/ringfence.toml --listen 0.0.0.0:443 --admin-listen 127.0.0.1:9860

  Many nodes over one PostgreSQL:
    export RINGFENCE_STORE_URL=postgresql://ringfence:secret@db/ringfence
    export RINGFENCE_SEALING_KEY=...   # the same on all nodes
    ringfence serve --listen 10.0.0.5:9859

FILES in the data directory
  ringfence.db   the control store
  sealing.key    the key that its secrets are sealed with: back it up apart
  listen         the address while serving, such as http://127.0.0.1:9859";

pub(crate) const LOAD: &str = "\
EXAMPLES
  RINGFENCE_KEY=... ringfence load shops.csv --connection lake:///sales --keys 'Shop ID'
  RINGFENCE_KEY=... ringfence load sales-2024.csv --connection lake:///sales --table sales --append
  ringfence load prices.csv --connection lake:///sales --types 'Price=numeric(10,2)' --types Code=text --key-file key

The key of the connection is the one that `GET /v1/connections` shows.";

pub(crate) const MCP: &str = "\
EXAMPLES
  In the settings of a program that starts its tools itself:
    \"ringfence\": {
      \"command\": \"ringfence\",
      \"args\": [\"mcp\", \"--url\", \"https://data.example.com\"],
      \"env\": {\"RINGFENCE_KEY\": \"...\"}
    }

  With the key in a file that only you can read:
    ringfence mcp --key-file ~/.config/ringfence.key

  By hand, one message on a line:
    echo '{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/list\"}' | RINGFENCE_KEY=... ringfence mcp";

pub(crate) const DEMO: &str = "\
EXAMPLES
  ringfence demo
  ringfence demo --listen 127.0.0.1:8000";

pub(crate) const CONFIG: &str = "\
EXAMPLES
  ringfence config show                      every setting, secrets hidden
  ringfence config check --config prod.toml  is it right? exit code 0 or 2
  ringfence config schema > ringfence.schema.json";

pub(crate) const ADMIN: &str = "\
EXAMPLES
  ringfence admin org create acme --name \"Acme Retail\" --data-dir ./data
  ringfence admin tenant create berlin --org acme --data-dir ./data
  ringfence admin user create ada --tenant berlin --role org-admin-user --data-dir ./data
  ringfence admin key create laptop --user ada --data-dir ./data
  ringfence admin key list --user ada --data-dir ./data
  ringfence admin password set metrics --data-dir ./data < password.txt
  ringfence admin rotate-sealing-key --data-dir ./data     (stop the server first)";

pub(crate) const CUBES: &str = "\
EXAMPLES
  ringfence cubes apply sales.yaml --connection postgresql://app@db:5432/shop --user ada --data-dir ./data
  ringfence cubes list --connection postgresql://app@db:5432/shop --user bob --data-dir ./data
  ringfence cubes query sales -m Quantity.SUM -l City --totals --connection postgresql://app@db:5432/shop --user bob --data-dir ./data
  ringfence cubes delete sales --connection postgresql://app@db:5432/shop --user ada --data-dir ./data";

pub(crate) const ENDPOINTS: &str = "\
EXAMPLES
  ringfence endpoints apply data.yaml whoami.yaml --user ada --data-dir ./data
  ringfence endpoints list --user bob --data-dir ./data
  ringfence endpoints try orders -p id=7 --user bob --data-dir ./data
  ringfence endpoints remove orders --user ada --data-dir ./data

A DOCUMENT
  name: data
  path: /data
  connection: postgresql://app@db/shop
  statement: SELECT * FROM company_data
  result: { wrap: data }";

pub(crate) const RESTRICTIONS: &str = "\
EXAMPLES
  ringfence restrictions list --connection postgresql://app@db:5432/shop --user ada --data-dir ./data
  echo '[{\"table\": \"shops\", \"column\": \"city\", \"in\": [\"Paris\"]}]' |
    ringfence restrictions put ROLE_PARIS --connection postgresql://app@db:5432/shop --user ada --data-dir ./data
  ringfence restrictions put ROLE_FRANCE france.json --connection postgresql://app@db:5432/shop --user ada --data-dir ./data
  ringfence restrictions remove ROLE_PARIS --connection postgresql://app@db:5432/shop --user ada --data-dir ./data";

pub(crate) const POLICY: &str = "\
EXAMPLES
  ringfence policy check shop.yaml
  ringfence policy check report.yaml --kind sqlite
  ringfence policy check shop.yaml --connection postgresql://app@db/shop --user ada --data-dir ./data

  What would it change, for whom, in rows and columns?
    ringfence policy diff shop.yaml --connection postgresql://app@db/shop --user ada --data-dir ./data

  Do the expectations hold, before it is put?
    ringfence policy test shop.tests.yaml --policy shop.yaml --connection postgresql://app@db/shop --user ada --data-dir ./data

  ringfence policy apply shop.yaml --connection postgresql://app@db/shop --user ada --data-dir ./data
  ringfence policy get --connection postgresql://app@db/shop --user ada --data-dir ./data > shop.yaml";

pub(crate) const PROVE: &str = "\
EXAMPLES
  The policy in force, as one user of each tenant and set of roles:
    ringfence prove --connection postgresql://app@db/shop --user ada --data-dir ./data

  A document before it is put, against what it is meant to do, in a pipeline:
    ringfence prove --connection postgresql://app@db/shop --user ada --policy shop.yaml --intent shop.intent.yaml \\
      --html proof.html --json proof.json --data-dir ./data

  What would change for the statements that people ran?
    ringfence prove --connection postgresql://app@db/shop --user ada --policy shop.yaml --replay --data-dir ./data";

pub(crate) const TENANTS: &str = "\
EXAMPLES
  Make two tenants with their schemas, and bring all tenants up to date later:
    ringfence tenants create company1 company2 --migrations ./migrations --connection postgresql://app@db/shop --user ada --data-dir ./data
    ringfence tenants migrate --migrations ./migrations --connection postgresql://app@db/shop --user ada --data-dir ./data

  Which are behind, and in what?
    ringfence tenants check --connection postgresql://app@db/shop --user ada --data-dir ./data

  A tenant leaves:
    ringfence tenants suspend company2 --data-dir ./data
    ringfence tenants export company2 --to ./company2 --connection postgresql://app@db/shop --user ada --data-dir ./data
    ringfence tenants erase company2 --dry-run --plan plan.json --connection postgresql://app@db/shop --user ada --data-dir ./data
    ringfence tenants erase company2 --plan plan.json --manifest erased.json --connection postgresql://app@db/shop --user ada --data-dir ./data";

pub(crate) const DOCTOR: &str = "\
EXAMPLES
  ringfence doctor --user ada --data-dir ./data
  ringfence doctor --user ada --strict --format json --data-dir ./data | jq '.findings[] | select(.state != \"good\")'";

pub(crate) const EXPLAIN: &str = "\
EXAMPLES
  What becomes of a statement of ann's, and by which rules:
    ringfence explain --as ann --connection shop 'SELECT id, card FROM orders' --data-dir ./data

  Why is it refused? How will the database run it?
    ringfence explain --as ann --connection shop 'SELECT * FROM invoices' --data-dir ./data
    ringfence explain --as ann --connection shop --plan 'SELECT count(*) FROM orders' --data-dir ./data

  What may ann herself know of it?
    ringfence explain --as ann --connection shop --callers-view 'SELECT * FROM orders' --data-dir ./data

  Through the connection of an administrator, for a program:
    ringfence explain --as ann --user boss --connection postgresql://app@db:5432/shop --format json \\
      'SELECT id FROM orders WHERE id = $1' --parameter 42 --data-dir ./data | jq .sent";

pub(crate) const WHY: &str = "\
EXAMPLES
  Why can't ann see order 42?
    ringfence why --as ann --connection shop --relation public.orders --key id=42 --data-dir ./data

  A key of two columns, for a program:
    ringfence why --as ann --connection shop --relation invoices --key tenant_id=1 --key invoice_no=7 \\
      --format json --data-dir ./data | jq .parts";

pub(crate) const AUDIT: &str = "\
EXAMPLES
  Is the log as it was written?
    ringfence audit verify --data-dir ./data

  What was refused today?
    ringfence audit list --decision refused --since 2026-01-31 --data-dir ./data

  For a spreadsheet, or a log pipeline:
    ringfence audit export --format csv --org acme --data-dir ./data > acme.csv
    ringfence audit export --since 24h --data-dir ./data | jq .action";

pub(crate) const COMPLETIONS: &str = "\
EXAMPLES
  ringfence completions bash > ~/.local/share/bash-completion/completions/ringfence
  ringfence completions zsh > \"${fpath[1]}/_ringfence\"
  ringfence completions fish > ~/.config/fish/completions/ringfence.fish";
