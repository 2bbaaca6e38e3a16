# Functions reach the database by its private address, and nothing else in the network.

resource "google_compute_network" "main" {
  name                    = "renderiq"
  auto_create_subnetworks = false
}

# Direct VPC egress takes up to two addresses an instance, and keeps them for 20 minutes after its end.
resource "google_compute_subnetwork" "functions" {
  name                     = "functions"
  network                  = google_compute_network.main.id
  region                   = var.region
  ip_cidr_range            = "10.8.0.0/20"
  private_ip_google_access = true
}

resource "google_compute_global_address" "services" {
  name          = "google-services"
  purpose       = "VPC_PEERING"
  address_type  = "INTERNAL"
  prefix_length = 20
  network       = google_compute_network.main.id
}

resource "google_service_networking_connection" "services" {
  network                 = google_compute_network.main.id
  service                 = "servicenetworking.googleapis.com"
  reserved_peering_ranges = [google_compute_global_address.services.name]
}

# A second wall behind the webhook sender's own check of addresses.
resource "google_compute_firewall" "to_database" {
  name               = "functions-to-database"
  network            = google_compute_network.main.id
  direction          = "EGRESS"
  priority           = 1000
  destination_ranges = ["${google_compute_global_address.services.address}/${google_compute_global_address.services.prefix_length}"]
  allow {
    protocol = "tcp"
    # The Cloud SQL connector's, and the one PostgreSQL itself listens at.
    ports = ["3307", "5432"]
  }
}

resource "google_compute_firewall" "to_nothing_else" {
  name               = "functions-to-nothing-else"
  network            = google_compute_network.main.id
  direction          = "EGRESS"
  priority           = 65000
  destination_ranges = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"]
  deny {
    protocol = "all"
  }
}
