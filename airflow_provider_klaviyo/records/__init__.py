"""From a row of a query to a record that Klaviyo takes, or to the reasons why not."""
