"""What Klaviyo has acknowledged, kept between runs."""
