//! The sample databases: one small shop per tenant, the same at every run.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use rusqlite::{Connection, params};

use crate::cli::failure::Failure;

/// A tenant's shop.
pub(super) struct Shop {
    /// The tenant's id, and the beginning of its database file's name.
    pub(super) tenant: &'static str,
    /// The tenant's organization.
    org: &'static str,
    customers: u32,
    orders: u32,
    currency: &'static str,
    cities: [&'static str; 4],
    given: [&'static str; 8],
    family: [&'static str; 8],
}

pub(super) const SHOPS: [Shop; 3] = [
    Shop {
        tenant: "berlin",
        org: "acme",
        customers: 120,
        orders: 1_480,
        currency: "EUR",
        cities: ["Berlin", "Potsdam", "Leipzig", "Hamburg"],
        given: ["Anna", "Jonas", "Mia", "Lukas", "Lena", "Felix", "Clara", "Paul"],
        family: ["Schmidt", "Weber", "Fischer", "Becker", "Wagner", "Hoffmann", "Koch", "Richter"],
    },
    Shop {
        tenant: "paris",
        org: "acme",
        customers: 95,
        orders: 1_130,
        currency: "EUR",
        cities: ["Paris", "Lyon", "Lille", "Nantes"],
        given: ["Camille", "Louis", "Manon", "Hugo", "Chloé", "Jules", "Inès", "Arthur"],
        family: ["Martin", "Bernard", "Dubois", "Laurent", "Moreau", "Girard", "Roux", "Fontaine"],
    },
    Shop {
        tenant: "tokyo",
        org: "globex",
        customers: 160,
        orders: 2_210,
        currency: "JPY",
        cities: ["Tokyo", "Yokohama", "Osaka", "Sapporo"],
        given: ["Yui", "Haruto", "Sakura", "Ren", "Hina", "Sota", "Aoi", "Yuto"],
        family: ["Sato", "Suzuki", "Takahashi", "Tanaka", "Watanabe", "Ito", "Nakamura", "Kobayashi"],
    },
];

/// (name, category, price in euros times 100).
const PRODUCTS: [(&str, &str, u32); 16] = [
    ("Espresso cups, set of 6", "kitchen", 2_490),
    ("Cast iron pan 28 cm", "kitchen", 5_900),
    ("Chef's knife 20 cm", "kitchen", 7_450),
    ("Linen tablecloth", "home", 4_200),
    ("Wool blanket", "home", 8_900),
    ("Desk lamp, brass", "home", 11_900),
    ("Reading chair", "furniture", 34_900),
    ("Oak bookshelf", "furniture", 27_900),
    ("Standing desk", "furniture", 48_900),
    ("Rain jacket", "clothing", 12_900),
    ("Merino sweater", "clothing", 9_900),
    ("Walking boots", "clothing", 15_900),
    ("Bicycle helmet", "outdoor", 6_900),
    ("Two-person tent", "outdoor", 22_900),
    ("Trail backpack 40 l", "outdoor", 13_900),
    ("Enamel mug", "outdoor", 1_290),
];

const STATUSES: [&str; 6] = ["delivered", "delivered", "delivered", "shipped", "paid", "cancelled"];

const SCHEMA: &str = "
    CREATE TABLE customers (
        id INTEGER PRIMARY KEY, name TEXT NOT NULL, email TEXT NOT NULL UNIQUE, city TEXT NOT NULL, since DATE NOT NULL
    );
    CREATE TABLE products (
        id INTEGER PRIMARY KEY, name TEXT NOT NULL, category TEXT NOT NULL, price NUMERIC NOT NULL, currency TEXT NOT NULL
    );
    CREATE TABLE orders (
        id INTEGER PRIMARY KEY, customer_id INTEGER NOT NULL REFERENCES customers (id), placed_at TEXT NOT NULL,
        status TEXT NOT NULL
    );
    CREATE TABLE order_items (
        order_id INTEGER NOT NULL REFERENCES orders (id), product_id INTEGER NOT NULL REFERENCES products (id),
        quantity INTEGER NOT NULL, price NUMERIC NOT NULL, PRIMARY KEY (order_id, product_id)
    );
    CREATE INDEX orders_by_customer ON orders (customer_id);
    CREATE VIEW revenue_by_category AS
        SELECT category, sum(quantity * order_items.price) AS revenue, count(DISTINCT order_id) AS orders
        FROM order_items JOIN products ON products.id = product_id GROUP BY category;
";

/// SQLite files have no passwords: an organization has a directory of its own, and within it, names that nobody can guess
/// keep tenants to their own files.
static SUFFIX: LazyLock<String> = LazyLock::new(|| uuid::Uuid::new_v4().simple().to_string());

/// Makes every shop's database in a directory.
pub(super) fn make_all(directory: &Path) -> Result<(), Failure> {
    fs::create_dir_all(directory)?;
    for shop in &SHOPS {
        fs::create_dir_all(directory.join(shop.org))?;
        let made = Connection::open(shop.file(directory)).and_then(|mut database| shop.fill(&mut database));
        made.map_err(|error| Failure::new(format_args!("the sample database can't be made: {error}")))?;
    }
    Ok(())
}

impl Shop {
    /// The shop's database file.
    pub(super) fn file(&self, directory: &Path) -> std::path::PathBuf {
        directory.join(self.org).join(format!("{}-{}.db", self.tenant, *SUFFIX))
    }

    fn fill(&self, database: &mut Connection) -> rusqlite::Result<()> {
        // Sample data that is lost in a crash is made again.
        database.execute_batch("PRAGMA synchronous = OFF; PRAGMA journal_mode = WAL;")?;
        let tx = database.transaction()?;
        tx.execute_batch(SCHEMA)?;
        let mut dice = Dice(u64::from(self.orders));
        self.add_customers(&tx, &mut dice)?;
        self.add_products(&tx)?;
        self.add_orders(&tx, &mut dice)?;
        tx.commit()
    }

    fn add_customers(&self, tx: &Connection, dice: &mut Dice) -> rusqlite::Result<()> {
        let mut insert = tx.prepare("INSERT INTO customers VALUES (?1, ?2, ?3, ?4, ?5)")?;
        for id in 1..=self.customers {
            let (given, family) = (dice.pick(&self.given), dice.pick(&self.family));
            let email = format!("{}.{}{id}@example.com", given.to_lowercase(), family.to_lowercase());
            let since = format!("{}-{:02}-{:02}", 2019 + dice.roll(5), 1 + dice.roll(12), 1 + dice.roll(28));
            insert.execute(params![
                id,
                format!("{given} {family}"),
                email,
                dice.pick(&self.cities),
                since
            ])?;
        }
        Ok(())
    }

    fn add_products(&self, tx: &Connection) -> rusqlite::Result<()> {
        let mut insert = tx.prepare("INSERT INTO products VALUES (?1, ?2, ?3, ?4, ?5)")?;
        for (id, (name, category, cents)) in (1_u32..).zip(PRODUCTS) {
            insert.execute(params![id, name, category, self.price(cents), self.currency])?;
        }
        Ok(())
    }

    fn add_orders(&self, tx: &Connection, dice: &mut Dice) -> rusqlite::Result<()> {
        let mut order = tx.prepare("INSERT INTO orders VALUES (?1, ?2, ?3, ?4)")?;
        let mut item = tx.prepare("INSERT OR IGNORE INTO order_items VALUES (?1, ?2, ?3, ?4)")?;
        for id in 1..=self.orders {
            let placed = format!(
                "{}-{:02}-{:02} {:02}:{:02}:00",
                2024 + dice.roll(2),
                1 + dice.roll(12),
                1 + dice.roll(28),
                8 + dice.roll(12),
                dice.roll(60)
            );
            order.execute(params![id, 1 + dice.roll(self.customers), placed, dice.pick(&STATUSES)])?;
            for _ in 0..=dice.roll(3) {
                let (product, (_, _, cents)) = dice.pick_with_place(&PRODUCTS);
                item.execute(params![id, product + 1, 1 + dice.roll(3), self.price(cents)])?;
            }
        }
        Ok(())
    }

    /// Yen have no cents.
    fn price(&self, cents: u32) -> f64 {
        if self.currency == "JPY" { f64::from(cents * 16 / 10) } else { f64::from(cents) / 100.0 }
    }
}

/// The same numbers at every run (Knuth's linear congruential generator); nothing here needs to be unguessable.
struct Dice(u64);

impl Dice {
    /// From 0 up to, and not including, `sides`.
    fn roll(&mut self, sides: u32) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let upper = u32::try_from(self.0 >> 33).unwrap_or_default();
        upper % sides.max(1)
    }

    fn pick<T: Copy, const N: usize>(&mut self, of: &[T; N]) -> T {
        self.pick_with_place(of).1
    }

    fn pick_with_place<T: Copy, const N: usize>(&mut self, of: &[T; N]) -> (u32, T) {
        let place = self.roll(u32::try_from(N).unwrap_or(1));
        (place, of[place as usize % N])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shops_are_the_same_at_every_run_and_differ_from_each_other() {
        let count = |shop: &Shop| {
            let mut database = Connection::open_in_memory().unwrap();
            shop.fill(&mut database).unwrap();
            let sum = "SELECT (SELECT count(*) FROM customers), (SELECT count(*) FROM orders), \
                       (SELECT sum(quantity * price) FROM order_items)";
            database.query_row(sum, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap()
        };
        let all: Vec<(u32, u32, f64)> = SHOPS.iter().map(count).collect();
        assert_eq!(all, SHOPS.iter().map(count).collect::<Vec<_>>());
        for (found, shop) in all.iter().zip(&SHOPS) {
            assert_eq!((found.0, found.1), (shop.customers, shop.orders), "{}", shop.tenant);
        }
    }
}
