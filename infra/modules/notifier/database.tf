# PostgreSQL for several notifiers. Without it each instance has a SQLite on its disk, which holds
# nothing but subscriptions that could not be read again from storage.

locals {
  # The password is not in the URL: libpq reads it from PGPASSWORD, set when the unit starts. RDS
  # admits nothing without TLS; its certificates are not in the system's, so the name is not checked:
  # the connection stays within the network's private subnets and security groups.
  database_settings = local.postgres ? {
    SUPERRES_NOTIFIER__DATABASE_URL = "postgresql://superres@${aws_db_instance.this[0].endpoint}/superres?sslmode=require"
  } : {}
  database_secrets = local.postgres ? [{
    unit     = "notify"
    variable = "PGPASSWORD"
    id       = "${aws_db_instance.this[0].master_user_secret[0].secret_arn}#password"
    arn      = aws_db_instance.this[0].master_user_secret[0].secret_arn
    fill     = false
  }] : []
}

resource "aws_db_subnet_group" "this" {
  count = local.postgres ? 1 : 0

  name       = local.name
  subnet_ids = var.subnet_ids
}

resource "aws_security_group" "database" {
  count = local.postgres ? 1 : 0

  name        = "${local.name}-database"
  description = "The notifier's PostgreSQL"
  vpc_id      = var.vpc_id

  tags = { Name = "${local.name}-database" }
}

resource "aws_vpc_security_group_ingress_rule" "database" {
  count = local.postgres ? 1 : 0

  security_group_id            = aws_security_group.database[0].id
  description                  = "From the notifier"
  referenced_security_group_id = module.service.security_group_id
  ip_protocol                  = "tcp"
  from_port                    = 5432
  to_port                      = 5432
}

resource "aws_vpc_security_group_egress_rule" "database" {
  count = local.postgres ? 1 : 0

  security_group_id            = module.service.security_group_id
  description                  = "To its PostgreSQL"
  referenced_security_group_id = aws_security_group.database[0].id
  ip_protocol                  = "tcp"
  from_port                    = 5432
  to_port                      = 5432
}

resource "aws_db_parameter_group" "this" {
  count = local.postgres ? 1 : 0

  name        = "${local.name}-${var.database.version}"
  family      = "postgres${var.database.version}"
  description = "TLS or nothing"

  parameter {
    name  = "rds.force_ssl"
    value = "1"
  }

  lifecycle {
    # A database cannot be without one while it moves to another version.
    create_before_destroy = true
  }
}

resource "aws_db_instance" "this" {
  count = local.postgres ? 1 : 0

  #checkov:skip=CKV_AWS_129:RDS keeps PostgreSQL's log for three days; the notifier logs its own errors.
  #checkov:skip=CKV_AWS_118:The default metrics of RDS suffice for a database whose contents are also in storage.
  #checkov:skip=CKV_AWS_353:The same.
  #checkov:skip=CKV_AWS_161:RDS manages the password in Secrets Manager and replaces it every week.
  #checkov:skip=CKV_AWS_293:Protected where the environment asks for it; others can be destroyed at any time.
  #checkov:skip=CKV_AWS_157:In two zones where the environment asks for it.
  #checkov:skip=CKV2_AWS_30:Statements are not recorded: there are only a few kinds, and their data is in storage.

  identifier     = local.name
  engine         = "postgres"
  engine_version = tostring(var.database.version)
  instance_class = var.database.instance_class
  db_name        = "superres"

  username                      = "superres"
  manage_master_user_password   = true
  master_user_secret_kms_key_id = var.key_arn

  storage_type          = "gp3"
  allocated_storage     = 20
  max_allocated_storage = 200
  storage_encrypted     = true
  kms_key_id            = var.key_arn

  db_subnet_group_name   = aws_db_subnet_group.this[0].name
  vpc_security_group_ids = [aws_security_group.database[0].id]
  parameter_group_name   = aws_db_parameter_group.this[0].name
  publicly_accessible    = false
  multi_az               = var.database.multi_az

  backup_retention_period    = var.database.backup_days
  copy_tags_to_snapshot      = true
  auto_minor_version_upgrade = true
  # Only when the version is changed here.
  allow_major_version_upgrade = true
  deletion_protection         = var.deletion_protection
  # It could be opened with our key only, which goes as well; and storage has what was in it.
  skip_final_snapshot = true
}
